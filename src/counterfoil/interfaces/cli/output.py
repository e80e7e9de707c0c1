"""What commands print: tables for people, JSON for programs, refusals for both."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from counterfoil.core.money.written import without_zeros
from counterfoil.core.problems import Refused

REFUSED = 2
INTERRUPTED = 130
_UNLIMITED = 10_000


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, as_json: bool
) -> None:
    """Print rows as a table, or with ``as_json`` as an array of objects.

    ``columns`` are snake_case words: the keys of the objects, and with spaces the table's heads.
    A Decimal is printed with all its digits and never as a JSON number; numbers stand right.
    """
    lines = [list(row) for row in rows]
    if as_json:
        print_json([dict(zip(columns, line, strict=True)) for line in lines])
        return
    table = _table(title, show_header=True)
    for position, column in enumerate(columns):
        numeric = _are_numbers(line[position] for line in lines)
        heading = column.replace("_", " ")
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for line in lines:
        table.add_row(*(Text(shown(value)) for value in line))
    _console().print(table)


def print_properties(title: str, properties: Mapping[str, object], *, as_json: bool) -> None:
    """Print one thing: a table of two columns, or with ``as_json`` one object."""
    if as_json:
        print_json(properties)
        return
    table = _table(title, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in properties.items():
        table.add_row(name.replace("_", " "), Text(shown(value)))
    _console().print(table)


def print_json(value: object) -> None:
    """Print a value as JSON: decimals as strings, times in ISO 8601, other letters as they are."""
    text = json.dumps(value, default=_json_value, ensure_ascii=False, indent=2)
    sys.stdout.write(text + "\n")


def shown(value: object) -> str:
    """A value as it stands in a table; None is empty, control characters are spelt out."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case Decimal():
            return format(value, "f")
        case datetime():
            return value.isoformat(sep=" ", timespec="seconds")
        case Mapping() | list() | tuple():
            return _visible(json.dumps(value, default=_json_value, ensure_ascii=False))
        case _:
            return _visible(str(value))


def trimmed(value: object) -> object:
    """A decimal without the zeros that only fill its column; all else as it is."""
    return Decimal(without_zeros(value)) if isinstance(value, Decimal) else value


@contextmanager
def fail_on_refused() -> Iterator[None]:
    """End the command with status 2 when its input is refused: one line per problem on stderr.

    Ctrl-C and a request to terminate end it with 130 and one line, not with a trace.
    """
    try:
        yield
    except Refused as refused:
        for problem in refused.problems:
            typer.echo(f"refused: {problem}", err=True)
        raise typer.Exit(REFUSED) from None
    except KeyboardInterrupt:
        typer.echo(
            "Interrupted. What was not finished was not saved; it can be run again.", err=True
        )
        raise typer.Exit(INTERRUPTED) from None


def _table(title: str, *, show_header: bool) -> Table:
    return Table(
        title=Text(title, style="bold"),
        title_justify="left",
        show_header=show_header,
        box=box.SIMPLE_HEAD if show_header else box.SIMPLE,
    )


def _console() -> Console:
    """The terminal; in a file or a pipe nothing is folded, so that a line can be searched."""
    console = Console()
    return console if console.is_terminal else Console(width=_UNLIMITED)


def _are_numbers(values: Iterable[object]) -> bool:
    kinds = {type(value) for value in values} - {type(None)}
    return bool(kinds) and kinds <= {Decimal, int, float}


def _visible(text: str) -> str:
    """The text without anything that a terminal would obey; data may come from anywhere."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text
    )


def _json_value(value: object) -> object:
    match value:
        case Decimal():
            return format(value, "f")
        case date():
            return value.isoformat()
        case Mapping():
            return dict(value)
        case Sequence():
            return list(value)
        case _:
            return str(value)
