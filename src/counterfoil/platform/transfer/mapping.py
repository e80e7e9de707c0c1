"""Which column of a table file goes into which field, and what a cell says there."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Catalogue, Entity, Field, FieldType
from counterfoil.platform.metadata.entity import HEADER
from counterfoil.platform.metadata.validation import TYPE_WORDS, read_value
from counterfoil.platform.records.exact_json import decode_json
from counterfoil.platform.records.paths import reference_named

_HEADER = frozenset(field.name for field in HEADER)
_TRUE, _FALSE = ("true", "yes", "1", "x"), ("false", "no", "0")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the file and the field it goes into.

    ``lookup`` is the unique field of the record referred to by which the cell names it.
    """

    place: int
    name: str
    field: Field
    lookup: Field | None = None

    @property
    def path(self) -> str:
        """How the column is named in problems: the field, or the path of a lookup."""
        if self.lookup is None:
            return self.field.name
        return f"{self.field.name.removesuffix('_id')}.{self.lookup.name}"


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that are read, and those that are left alone."""

    read: tuple[Column, ...]
    ignored: tuple[str, ...]


def map_columns(
    catalogue: Catalogue,
    entity: Entity,
    names: Sequence[str],
    mapping: Mapping[str, str | None],
    file: str,
) -> Columns:
    """Every column with its field; refuses (422) unknown ones, naming what is possible.

    ``mapping`` says of columns which field or path they go into, None: nowhere. Other columns are
    named like the field, its label, or the reference whose record they name by external id.
    """
    read: list[Column] = []
    ignored: list[str] = []
    problems = [
        Problem("unknown_column", "is not in the file", name, tuple(names), file, line=1)
        for name in mapping
        if name not in names
    ]
    taken: dict[str, str] = {}
    for place, name in enumerate(names):
        path = mapping.get(name, name)
        if not path:
            ignored.append(name)
            continue
        column = _column(catalogue, entity, place, name, path)
        if column is None:
            allowed = possible_columns(catalogue, entity)
            message = f"goes into no field of {entity.name}"
            problems.append(Problem("unknown_column", message, name, allowed, file, line=1))
        elif column.field.name in taken:
            message = f"goes into {column.field.name}, as {taken[column.field.name]} does"
            problems.append(Problem("double_column", message, name, file=file, line=1))
        else:
            taken[column.field.name] = name
            read.append(column)
    if problems:
        raise Refused(problems)
    return Columns(tuple(read), tuple(ignored))


def possible_columns(catalogue: Catalogue, entity: Entity) -> tuple[str, ...]:
    """The fields and lookups that a column may go into."""
    paths: list[str] = []
    for field in entity.fields:
        if not field.computed:
            paths.append(field.name)
            target = catalogue.entities.get(field.target)
            if target is not None and target.field("external_id") is not None:
                paths.append(f"{field.name.removesuffix('_id')}.external_id")
    return tuple(paths)


def written_by_system(entity: Entity) -> frozenset[str]:
    """The fields that an export tells and an import leaves alone."""
    return _HEADER | {field.name for field in entity.fields if field.computed}


def plain_name(name: str) -> str:
    """``Bill-to Name`` as ``bill_to_name``."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _column(
    catalogue: Catalogue, entity: Entity, place: int, name: str, path: str
) -> Column | None:
    first, _, rest = path.strip().partition(".")
    if rest:
        reference = reference_named(entity, plain_name(first))
        target = catalogue.entities.get(reference.target) if reference is not None else None
        lookup = target.field(plain_name(rest)) if target is not None else None
        if (
            reference is None
            or lookup is None
            or lookup.secret
            or not (lookup.unique or lookup.name == "id")
        ):
            return None
        return Column(place, name, reference, None if lookup.name == "id" else lookup)
    for field in entity.fields:
        if plain_name(path) == field.name or (field.label and field.label.lower() == path.lower()):
            return Column(place, name, field)
    reference = reference_named(entity, plain_name(path))
    target = catalogue.entities.get(reference.target) if reference is not None else None
    lookup = target.field("external_id") if target is not None else None
    return None if reference is None or lookup is None else Column(place, name, reference, lookup)


def read_cell(field: Field, cell: object) -> object:
    """What a cell says as the value of a field; None when it is empty. Raises ValueError.

    Whether the value is allowed the record's own check says.
    """
    if isinstance(cell, str):
        text = cell.strip() if field.type is not FieldType.TEXT else cell
        return None if text == "" else _READ.get(field.type, _as_it_is)(field, text)
    if cell is None or isinstance(cell, bool):
        return cell
    if isinstance(cell, datetime):
        return _moment(field, cell)
    if isinstance(cell, date):
        return cell.isoformat() if field.type in (FieldType.TEXT, FieldType.CHOICE) else cell
    return _number(field, cell)


def _as_it_is(_field: Field, text: str) -> object:
    return text


def _whole(field: Field, text: str) -> object:
    return read_value(field, text)


def _boolean(_field: Field, text: str) -> object:
    word = text.lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(f"must be {TYPE_WORDS[FieldType.BOOLEAN]}")


def _document(_field: Field, text: str) -> object:
    try:
        return decode_json(text)
    except ValueError as fault:
        raise ValueError(f"must be JSON: {fault}") from None


def _words(_field: Field, text: str) -> object:
    return [word.strip() for word in re.split("[,;]", text) if word.strip()]


_READ: dict[FieldType, Any] = {
    FieldType.INTEGER: _whole,
    FieldType.REFERENCE: _whole,
    FieldType.BOOLEAN: _boolean,
    FieldType.DOCUMENT: _document,
    FieldType.MULTI_CHOICE: _words,
}


def _moment(field: Field, cell: datetime) -> object:
    """A spreadsheet knows no zones: a moment in it is one in UTC."""
    if field.type is FieldType.DATE and cell.time() == datetime.min.time():
        return cell.date()
    if field.type is FieldType.INSTANT:
        return cell.replace(tzinfo=UTC)
    return cell.isoformat()


def _number(field: Field, cell: object) -> object:
    """A number of a spreadsheet as the decimal that it shows: it keeps binary fractions."""
    number = Decimal(repr(cell)) if isinstance(cell, float) else cell
    if isinstance(number, Decimal) and number.is_finite() and number == number.to_integral_value():
        number = int(number)
    if field.type in (FieldType.TEXT, FieldType.CHOICE):
        return format(number, "f") if isinstance(number, Decimal) else str(number)
    if field.type is FieldType.BOOLEAN and number in (0, 1):
        return bool(number)
    return number
