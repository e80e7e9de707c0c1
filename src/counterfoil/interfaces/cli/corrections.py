"""``counterfoil usage correct``: withdraw usage events that were wrong, or replace them."""

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from counterfoil.business.usage.corrections import Correction, correct_usage
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.files import read_text
from counterfoil.interfaces.cli.numbers import decimal_of, number_of
from counterfoil.interfaces.cli.organisation import AsJson, opened_organisation
from counterfoil.interfaces.cli.output import print_properties

WITHDRAW = "withdraw"
COLUMNS = ("source", "event_id", "quantity")


def correct_command(
    source: Annotated[str, typer.Argument(help="Source of the event.")],
    event: Annotated[str, typer.Argument(help="Id of the event.")],
    quantity: Annotated[
        str | None, typer.Option(help="The right quantity, in the meter's unit.")
    ] = None,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="The event should not be there at all.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the correction.")] = None,
    as_json: AsJson = False,
) -> None:
    """Correct a usage event: it counts no longer, and another may stand in its place.

    What has been billed changes with the next bill run, or at once by `counterfoil bills rerate`.

    Example: counterfoil usage correct bridge call-17 --quantity 90
    """
    if (quantity is None) != withdraw:
        raise Refused(Problem("required", "give either --quantity or --withdraw", "quantity"))
    right = decimal_of(quantity, "--quantity")
    _correct([Correction(source, event, right, reason)], as_json=as_json)


def correct_file_command(
    file: Annotated[
        Path,
        typer.Argument(help="CSV with the columns source, event_id, quantity and, if any, reason."),
    ],
    as_json: AsJson = False,
) -> None:
    """Correct many usage events, all or none; the quantity "withdraw" stands for none."""
    _correct(_read_corrections(file), as_json=as_json)


def _correct(corrections: Sequence[Correction], *, as_json: bool) -> None:
    with (
        opened_organisation() as organisation,
        organisation.database.transaction(now=organisation.clock()) as uow,
    ):
        summary = correct_usage(uow, organisation.usage_store, corrections)
    print_properties("Usage corrected", asdict(summary), as_json=as_json)


def _read_corrections(file: Path) -> list[Correction]:
    """The corrections of a file; refuses one that cannot be read, or quantities that are none."""
    rows = csv.DictReader(read_text(file).splitlines())
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        message = f"has no column {missing[0]!r}"
        raise Refused(Problem("unknown_column", message, file=str(file), allowed=COLUMNS))
    corrections: list[Correction] = []
    try:
        for row in rows:
            line, quantity = rows.line_num, row["quantity"]
            if quantity is None or None in row:
                message = "has to have as many values as the first line names columns"
                raise Refused(Problem("wrong_columns", message, file=str(file), line=line))
            right = None if quantity == WITHDRAW else number_of(quantity, "quantity", line)
            reason = row.get("reason") or None
            corrections.append(Correction(row["source"], row["event_id"], right, reason))
    except csv.Error as error:
        message = f"cannot be read as CSV: {error}"
        raise Refused(Problem("unreadable_file", message, file=str(file))) from None
    return corrections
