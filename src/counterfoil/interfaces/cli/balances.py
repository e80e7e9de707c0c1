"""``counterfoil balances``: what is left of prepaid grants, what moved them, voids."""

from datetime import datetime
from typing import Annotated

import typer

from counterfoil.business.billing.balances import read_balances, read_movements, void_grant
from counterfoil.interfaces.cli.numbers import decimal_of
from counterfoil.interfaces.cli.organisation import AsJson, opened_records
from counterfoil.interfaces.cli.output import print_table, trimmed
from counterfoil.platform.metadata import Record

app = typer.Typer(no_args_is_help=True, help="Prepaid balances: show, movements, void.")

Account = Annotated[str, typer.Argument(help="External id of the account.")]


@app.command()
def show(
    account: Account,
    on: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="As of this day; default today.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The grants an account's invoices draw on, in that order, and what is left of each."""
    with opened_records() as uow:
        day = uow.now.date() if on is None else on.date()
        _print(f"Prepaid balances of {account}", read_balances(uow, account, day), as_json)


@app.command()
def movements(account: Account, as_json: AsJson = False) -> None:
    """Everything that was granted, drawn and voided."""
    with opened_records() as uow:
        _print(f"Prepaid movements of {account}", read_movements(uow, account), as_json)


@app.command()
def void(
    grant: Annotated[str, typer.Argument(help="External id of the grant.")],
    amount: Annotated[str | None, typer.Option(help="So much of it; default all.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for the record.")] = None,
) -> None:
    """Take back what is left of a grant, or a part of it."""
    with opened_records() as uow:
        remaining = void_grant(uow, grant, decimal_of(amount), reason=reason)
    typer.echo(f"{trimmed(remaining)} remain of {grant}.")


def _print(title: str, found: list[Record], as_json: bool) -> None:
    columns = tuple(found[0]) if found else ("grant", "remaining")
    rows = [[trimmed(one[column]) for column in columns] for one in found]
    print_table(title, columns, rows, as_json=as_json)
