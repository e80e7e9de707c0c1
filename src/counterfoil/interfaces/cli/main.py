"""The command ``counterfoil``: every room's commands, gathered under one name."""

import io
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from counterfoil import __version__
from counterfoil.interfaces.cli import (
    access,
    accounts,
    balances,
    bills,
    demo,
    history,
    incentives,
    invoices,
    jobs,
    leads,
    model,
    orders,
    organisation,
    outbox,
    prices,
    quotes,
    receivables,
    records,
    scenario,
    subscriptions,
    usage,
)
from counterfoil.interfaces.cli.corrections import correct_command, correct_file_command
from counterfoil.interfaces.cli.credit_notes import (
    credit_command,
    debit_command,
    one_off_command,
    reissue_command,
    void_command,
)
from counterfoil.interfaces.cli.demo_real import demo_real
from counterfoil.interfaces.cli.drafts import (
    approve_command,
    merge_command,
    refuse_command,
    split_command,
    waiting_command,
)
from counterfoil.interfaces.cli.output import fail_on_refused
from counterfoil.interfaces.cli.rerate import rerate_command
from counterfoil.interfaces.cli.serve import serve
from counterfoil.interfaces.cli.simulate import simulate_command
from counterfoil.interfaces.cli.transfer import export_command, import_command

_HELP = """
Order-to-cash software in which every amount on an invoice can explain itself.

The data lie in the folder named by COUNTERFOIL_HOME (.counterfoil by default), with a database \
server of their own; COUNTERFOIL_DATABASE_URL names a PostgreSQL server to use instead.

Commands that print a table print JSON with --json. Exit status: 0 done; 2 refused, with one line \
per problem on stderr and nothing changed (import alone saves the rows that are right); 1 anything \
else.
"""
_EXAMPLES = """
[bold]Examples[/]

  counterfoil demo            a month of a whole company, usage to invoices

  counterfoil init            an organisation of your own

  counterfoil status --json   what is in it

  counterfoil COMMAND --help  more about each of them
"""


class Commands(TyperGroup):
    """Commands whose refusals and interruptions are printed, not thrown."""

    def invoke(self, ctx: Any) -> object:
        """Run the named command; exit status 2 when its input is refused."""
        with fail_on_refused():
            return super().invoke(ctx)


app = typer.Typer(
    name="counterfoil",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"counterfoil {__version__}")
        raise typer.Exit


@app.callback(help=_HELP, epilog=_EXAMPLES)
def counterfoil(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take the options that stand before the command's name."""


app.command()(organisation.init)
app.command()(organisation.status)
app.add_typer(records.app, name="records")
app.add_typer(model.app, name="model")
app.add_typer(accounts.app, name="accounts")
app.add_typer(leads.app, name="leads")
app.add_typer(quotes.app, name="quotes")
app.add_typer(prices.app, name="prices")
app.add_typer(prices.app, name="price", hidden=True)
app.add_typer(incentives.app, name="incentives")
app.add_typer(balances.app, name="balances")
app.add_typer(subscriptions.app, name="subscriptions")
app.add_typer(orders.app, name="orders")
app.add_typer(usage.app, name="usage")
app.add_typer(bills.app, name="bills")
app.add_typer(invoices.app, name="invoices")
app.add_typer(receivables.app, name="payments")
bills.app.command("rerate")(rerate_command)
invoices.app.command("credit")(credit_command)
invoices.app.command("void")(void_command)
invoices.app.command("debit")(debit_command)
invoices.app.command("reissue")(reissue_command)
invoices.app.command("one-off")(one_off_command)
invoices.app.command("waiting")(waiting_command)
invoices.app.command("approve")(approve_command)
invoices.app.command("refuse")(refuse_command)
invoices.app.command("merge")(merge_command)
invoices.app.command("split")(split_command)
usage.app.command("correct")(correct_command)
usage.app.command("correct-file")(correct_file_command)
app.command("simulate")(simulate_command)
app.command("statement")(receivables.statement_command)
app.command("ageing")(receivables.ageing_command)
app.command("import")(import_command)
app.command("export")(export_command)
app.add_typer(outbox.app, name="outbox")
app.add_typer(jobs.app, name="jobs")
app.add_typer(access.users, name="users")
app.add_typer(access.roles, name="roles")
app.add_typer(access.access, name="access")
app.add_typer(history.app, name="history")
app.add_typer(scenario.app, name="scenario")
app.command()(demo.demo)
app.command()(demo_real)
app.command()(serve)


def main() -> None:
    """Run the command line; a request to terminate ends a command in order, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What a terminal cannot show comes escaped: the work is done and saved by then.
            stream.reconfigure(errors="backslashreplace")
    app()


if __name__ == "__main__":
    main()
