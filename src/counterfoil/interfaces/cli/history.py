"""``counterfoil history``: who changed what, and whether the history is as it was written."""

import re
from typing import Annotated

import typer

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.organisation import AsJson, opened_records
from counterfoil.interfaces.cli.output import print_properties, print_table
from counterfoil.platform.records.history import HistoryQuery
from counterfoil.platform.records.sealing import seal_history, verify_history

app = typer.Typer(no_args_is_help=True, help="Every change of every record, and who made it.")

MOST = 2**63 - 1
_HEAD = re.compile("[0-9a-f]{64}")

COLUMNS = (
    "id",
    "at",
    "actor",
    "source",
    "entity",
    "record_id",
    "action",
    "changes",
    "request_id",
)


@app.command("list")
def list_command(
    entity: Annotated[str | None, typer.Argument(help="For example invoice.")] = None,
    record: Annotated[int | None, typer.Argument(max=MOST, help="The record's id.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only changes of this user.")] = None,
    source: Annotated[str | None, typer.Option(help="Only through rest, soap, cli …")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Show at most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Changes, the newest first.

    Example: counterfoil history list account 17
    """
    asked = HistoryQuery(entity=entity, record_id=record, actor=actor, source=source, limit=limit)
    with opened_records() as uow:
        page = uow.history(asked)
    rows = [[row[name] for name in COLUMNS] for row in page.records]
    print_table("History", COLUMNS, rows, as_json=as_json)


@app.command()
def verify(
    head: Annotated[
        str | None, typer.Option(help="The head of an earlier verification, kept elsewhere.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Seal what is new and check the whole chain; names the first change that was tampered with.

    Keep the head that is printed elsewhere: given again, it proves that the chain was not made
    anew meanwhile.
    """
    if head is not None and not _HEAD.fullmatch(head):
        message = "has to be the 64 digits that an earlier verification has printed"
        raise Refused(Problem("wrong_value", message, "--head"))
    with opened_records() as uow:
        seal_history(uow)
        found = verify_history(uow, head)
    if found.fault:
        where = "" if found.broken is None else f"change {found.broken}: "
        raise Refused(Problem("history_broken", f"{where}{found.fault}"))
    shown = {"changes": found.sealed, "head": found.head}
    print_properties("The history is whole", shown, as_json=as_json)
