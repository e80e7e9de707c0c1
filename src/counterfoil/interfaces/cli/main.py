"""The command ``counterfoil``: what all its commands have in common."""

import io
import os
import signal
import sys
from contextlib import suppress
from typing import Annotated

import typer

from counterfoil import __version__
from counterfoil.interfaces.cli.commands import Commands

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


def main() -> None:
    """Run the command line as a process of its own."""
    try:
        command_line()
    except SystemExit as ended:
        _leave(ended.code)
        raise


def command_line() -> None:
    """Run the command line; a request to terminate ends a command in order, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What a terminal cannot show comes escaped: the work is done and saved by then.
            stream.reconfigure(errors="backslashreplace")
    app()


def _leave(status: object) -> None:
    """End the process: the command has closed what it opened, and memory need not be freed bit by
    bit. A step in the background that is still under way would make Python abort. Where not all
    could be written, Python ends it and says so."""
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
        if isinstance(status, int):
            os._exit(status)


if __name__ == "__main__":
    main()
