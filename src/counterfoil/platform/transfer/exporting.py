"""Exporting records into table files that an import reads: CSV and XLSX, page by page."""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Catalogue, Entity, FieldType, Record
from counterfoil.platform.records.exact_json import encode_json, plain_decimal
from counterfoil.platform.records.pages import LONGEST_PAGE
from counterfoil.platform.records.paths import Where, reference_named
from counterfoil.platform.records.querying import Query
from counterfoil.platform.records.unit_of_work import UnitOfWork
from counterfoil.platform.transfer.tables import FORMULA

MOST_SHEET_ROWS = 1_048_575
EXACT_DIGITS = 15
"""A spreadsheet keeps so many digits of a number; longer ones are written as text."""
LONGEST_CELL = 32_767

Count = Callable[[int], None]
"""Called with the number of records written so far."""
Writer = Callable[[Sequence[object]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Which records, which fields and paths of them (the default: what an import takes)."""

    entity: str
    fields: tuple[str, ...] = ()
    where: Where | None = None
    sort: tuple[str, ...] = ("id",)


def export_records(
    uow: UnitOfWork, wanted: Export, path: Path, kind: str, count: Count | None = None
) -> int:
    """Write the records into a new file, ``csv`` or ``xlsx``; how many there are.

    Only what the actor may read. Text that a spreadsheet would take for a formula is made harmless.
    """
    entity = uow.catalogue.entity(wanted.entity)
    names = wanted.fields or exported_fields(uow.catalogue, entity)
    if kind not in _WRITERS:
        raise Refused(
            Problem("unknown_format", f"{kind!r} is no format", "format", tuple(_WRITERS))
        )
    documents = {name for name in names if _is_document(uow.catalogue, entity, name)}
    written = 0
    with _WRITERS[kind](path) as write:
        write(names)
        for page in _pages(uow, wanted, names):
            written += len(page)
            if kind == "xlsx" and written > MOST_SHEET_ROWS:
                message = f"a sheet has no room for more than {MOST_SHEET_ROWS:,} records: use CSV"
                raise Refused(Problem("too_many_records", message, "format"))
            for record in page:
                write([_as_json(record[n]) if n in documents else record[n] for n in names])
            if count is not None:
                count(written)
    return written


def exported_fields(catalogue: Catalogue, entity: Entity) -> tuple[str, ...]:
    """The fields that an import takes, references by external id where there is one.

    An entity without any unique field begins with the id.
    """
    names: list[str] = []
    if not any(field.unique for field in entity.readable):
        names.append("id")
    for field in entity.readable[4:]:
        if field.computed and not field.formula:
            continue
        target = catalogue.entities.get(field.target)
        key = target.field("external_id") if target is not None else None
        named = f"{field.name.removesuffix('_id')}.external_id"
        names.append(field.name if key is None or key.secret else named)
    return tuple(names)


def _is_document(catalogue: Catalogue, entity: Entity, path: str) -> bool:
    *way, last = path.split(".")
    for name in way:
        reference = reference_named(entity, name)
        if reference is None or reference.target not in catalogue.entities:
            return False
        entity = catalogue.entities[reference.target]
    field = entity.field(last)
    return field is not None and field.type is FieldType.DOCUMENT


def _as_json(value: object) -> str | None:
    """A document as an import reads it; a list of texts would look like several choices."""
    return None if value is None else encode_json(value)


def _pages(uow: UnitOfWork, wanted: Export, names: Sequence[str]) -> Iterator[list[Record]]:
    cursor = None
    while True:
        query = Query(
            fields=tuple(names),
            where=wanted.where,
            sort=wanted.sort,
            cursor=cursor,
            limit=LONGEST_PAGE,
        )
        page = uow.query_records(wanted.entity, query)
        if page.records:
            yield page.records
        cursor = page.next_cursor
        if cursor is None:
            return


@contextmanager
def _csv_file(path: Path) -> Iterator[Writer]:
    with path.open("w", encoding="utf-8", newline="") as file:
        yield _csv_writer(file)


def _csv_writer(file: IO[str]) -> Writer:
    rows = csv.writer(file)

    def write(values: Sequence[object]) -> None:
        rows.writerow(
            harmless(as_text(value)) if isinstance(value, str | list) else as_text(value)
            for value in values
        )

    return write


@contextmanager
def _xlsx_file(path: Path) -> Iterator[Writer]:
    from openpyxl import Workbook  # noqa: PLC0415 - only for who writes a workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet("records")
    yield lambda values: sheet.append([_cell(sheet, value) for value in values])
    book.save(path)


_WRITERS = {"csv": _csv_file, "xlsx": _xlsx_file}


def as_text(value: object) -> str:
    """A value as an import reads it."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Decimal():
            return plain_decimal(value)
        case datetime():
            return re.sub(r"\+00:00$", "Z", value.astimezone(UTC).isoformat())
        case date():
            return value.isoformat()
        case list():
            return ",".join(value)
        case _:
            return str(value)


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe stands before one."""
    return "'" + text if FORMULA.match(text) else text


def _cell(sheet: Any, value: object) -> object:
    if isinstance(value, bool | int | date) and not isinstance(value, datetime):
        small = not isinstance(value, int) or len(str(abs(value))) <= EXACT_DIGITS
        return value if small else _text_cell(sheet, str(value))
    if isinstance(value, Decimal):
        text = plain_decimal(value)
        exact = len(text.strip("-0").replace(".", "")) <= EXACT_DIGITS
        return Decimal(text) if exact else _text_cell(sheet, text)
    return None if value is None else _text_cell(sheet, as_text(value))


def _text_cell(sheet: Any, text: str) -> object:
    """Text that stays text, whatever it begins with."""
    from openpyxl.cell.cell import (  # noqa: PLC0415 - only for who writes a workbook
        ILLEGAL_CHARACTERS_RE,
        WriteOnlyCell,
    )

    clean = ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", text)
    if len(clean) > LONGEST_CELL:
        message = f"a cell has no room for more than {LONGEST_CELL:,} characters: use CSV"
        raise Refused(Problem("too_long", message, "format"))
    cell = WriteOnlyCell(sheet, clean)
    cell.data_type = "s"
    if FORMULA.match(clean):
        cell.quotePrefix = True
    return cell
