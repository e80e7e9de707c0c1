"""Lists of records: typed filters, sorting and keyset pages.

A page continues after the last record of the one before, compared by the sort fields and the
id. So records that are added or removed meanwhile neither repeat nor hide another one.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, Table, and_, false, literal, or_, select

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Entity, Field, FieldType, Record
from counterfoil.platform.metadata.validation import read_value
from counterfoil.platform.records.columns import field_column
from counterfoil.platform.records.exact_json import encode_json

LONGEST_PAGE = 1000
OPERATORS = ("eq", "ne", "lt", "le", "gt", "ge", "in", "contains", "is_null")


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on one field.

    ``op`` is one of OPERATORS. ``in`` takes a list, or text with commas; ``contains`` looks into
    texts, whatever the case. Of a choice of several words ``contains`` asks for all that are named
    and ``in`` for any of them. ``is_null`` takes true or false. Other values may be text, too.
    """

    field: str
    op: str
    value: object


@dataclass(frozen=True, slots=True)
class Page:
    """Some records of a list, and the cursor of the next page or None at the end."""

    records: list[Record]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class _SortKey:
    field: Field
    descending: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """A checked request for a page of one entity."""

    statement: Select[tuple[object, ...]]
    keys: tuple[_SortKey, ...]
    limit: int

    def page(self, rows: Sequence[Record]) -> Page:
        """The page from the rows of the statement, which asks for one more than the limit."""
        records = list(rows[: self.limit])
        if len(rows) <= self.limit:
            return Page(records, None)
        last = records[-1]
        return Page(records, _encode_cursor(self.keys, last))


def plan_listing(
    entity: Entity,
    table: Table,
    filters: Sequence[Filter],
    sort: Sequence[str],
    cursor: str | None,
    limit: int,
    rows: Sequence[ColumnElement[bool]] = (),
) -> Listing:
    """The statement for one page; refuses (422) with all problems at once.

    ``entity`` is the one that the reader sees, ``rows`` are conditions of his row filter.
    """
    problems: list[Problem] = []
    conditions: list[ColumnElement[bool]] = list(rows)
    for condition in filters:
        try:
            conditions.append(field_condition(entity, table, condition))
        except Refused as refused:
            problems.extend(refused.problems)
    keys = _sort_keys(entity, sort, problems)
    if not 1 <= limit <= LONGEST_PAGE:
        problems.append(Problem("bad_limit", f"must be from 1 to {LONGEST_PAGE}", "limit"))
    if problems:
        raise Refused(problems)
    if cursor is not None:
        conditions.append(_after(table, keys, _decode_cursor(keys, cursor)))
    order = [
        field_column(table, key.field).desc()
        if key.descending
        else field_column(table, key.field).asc()
        for key in keys
    ]
    statement = (
        select(*shown_columns(entity, table)).where(*conditions).order_by(*order).limit(limit + 1)
    )
    return Listing(statement, keys, limit)


def shown_columns(entity: Entity, table: Table) -> list[ColumnElement[Any]]:
    """The columns of a record that leaves this room: secrets stay, formulas are computed."""
    return [field_column(table, field).label(field.name) for field in entity.readable]


_UNSORTED = (FieldType.DOCUMENT, FieldType.MULTI_CHOICE)


def _sort_keys(
    entity: Entity, sort: Sequence[str], problems: list[Problem]
) -> tuple[_SortKey, ...]:
    keys: list[_SortKey] = []
    for word in (*sort, "id"):
        name = word.removeprefix("-")
        field = entity.field(name)
        if field is None or field.secret or field.type in _UNSORTED:
            allowed = tuple(known.name for known in entity.readable if known.type not in _UNSORTED)
            problems.append(
                Problem("unknown_field", f"cannot sort by {name}", "sort", allowed=allowed)
            )
        elif all(key.field.name != name for key in keys):
            keys.append(_SortKey(field, word.startswith("-")))
    return tuple(keys)


def field_condition(entity: Entity, table: Table, condition: Filter) -> ColumnElement[bool]:
    """One filter as SQL; refuses (422) unknown fields and operators, and unfit values."""
    field = entity.field(condition.field)
    if field is None or field.secret:
        known = tuple(known.name for known in entity.readable)
        raise Refused(
            Problem(
                "unknown_field",
                f"{entity.name} has no such field",
                condition.field,
                allowed=known,
            )
        )
    allowed = _operators(field)
    if condition.op not in allowed:
        message = f"cannot be filtered with {condition.op!r}"
        raise Refused(Problem("unknown_operator", message, field.name, allowed=allowed))
    column = field_column(table, field)
    try:
        return _CONDITIONS[condition.op](column, field, condition.value)
    except (TypeError, ValueError) as error:
        raise Refused(Problem("wrong_value", str(error), field.name, field.choices)) from None


def _operators(field: Field) -> tuple[str, ...]:
    if field.type is FieldType.DOCUMENT:
        return ("is_null",)
    if field.type is FieldType.MULTI_CHOICE:
        return ("eq", "ne", "in", "contains", "is_null")
    if field.type in (FieldType.TEXT, FieldType.CHOICE):
        return OPERATORS
    return tuple(op for op in OPERATORS if op != "contains")


def _bound(column: ColumnElement[Any], field: Field, value: object) -> ColumnElement[object]:
    """A value as a parameter; SQLAlchemy does not compare a column with a bare True."""
    return literal(read_value(field, value), column.type)


def _is_null(column: ColumnElement[Any], _field: Field, value: object) -> ColumnElement[bool]:
    if value not in (True, False, "true", "false"):
        raise ValueError("is_null takes true or false")
    return column.is_(None) if value in (True, "true") else column.is_not(None)


def _in(column: ColumnElement[Any], field: Field, value: object) -> ColumnElement[bool]:
    values = value.split(",") if isinstance(value, str) else value
    if field.type is FieldType.MULTI_CHOICE:
        return column.bool_op("&&")(_bound(column, field, values))
    if not isinstance(values, (list, tuple, set, frozenset)):
        raise TypeError("in takes a list of values")
    return column.in_([read_value(field, item) for item in values])


def _contains(column: ColumnElement[Any], field: Field, value: object) -> ColumnElement[bool]:
    if field.type is FieldType.MULTI_CHOICE:
        return column.bool_op("@>")(_bound(column, field, value))
    if not isinstance(value, str) or "\x00" in value:
        raise TypeError("contains takes a text")
    return column.icontains(value, autoescape=True)


def _not_equal(column: ColumnElement[Any], field: Field, value: object) -> ColumnElement[bool]:
    return column.is_distinct_from(_bound(column, field, value))


_CONDITIONS: dict[str, Callable[[ColumnElement[Any], Field, object], ColumnElement[bool]]] = {
    "eq": lambda column, field, value: column == _bound(column, field, value),
    "ne": _not_equal,
    "lt": lambda column, field, value: column < _bound(column, field, value),
    "le": lambda column, field, value: column <= _bound(column, field, value),
    "gt": lambda column, field, value: column > _bound(column, field, value),
    "ge": lambda column, field, value: column >= _bound(column, field, value),
    "in": _in,
    "contains": _contains,
    "is_null": _is_null,
}


def _after(table: Table, keys: Sequence[_SortKey], values: Sequence[object]) -> ColumnElement[bool]:
    """Records that sort behind the given one: later in the first key, or equal and so on."""
    alternatives: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for key, value in zip(keys, values, strict=True):
        column = field_column(table, key.field)
        alternatives.append(and_(*equal, _behind(column, key, value)))
        equal.append(column.is_(None) if value is None else column == literal(value, column.type))
    return or_(*alternatives)


def _behind(column: ColumnElement[Any], key: _SortKey, value: object) -> ColumnElement[bool]:
    """PostgreSQL sorts NULL as the greatest value."""
    if value is None:
        return column.is_not(None) if key.descending else false()
    if key.descending:
        return column < literal(value, column.type)
    later = column > literal(value, column.type)
    never_empty = key.field.required and not key.field.custom
    return later if never_empty else or_(later, column.is_(None))


def _encode_cursor(keys: Sequence[_SortKey], record: Record) -> str:
    values = [
        format(value, "f") if isinstance(value := record[key.field.name], Decimal) else value
        for key in keys
    ]
    return (
        base64.urlsafe_b64encode(encode_json([_sort_words(keys), values]).encode())
        .decode()
        .rstrip("=")
    )


def _decode_cursor(keys: Sequence[_SortKey], cursor: str) -> list[object]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        words, values = msgspec.json.decode(
            base64.urlsafe_b64decode(padded.encode("ascii")), type=tuple[list[str], list[object]]
        )
        if words == _sort_words(keys):
            return [
                None if value is None else read_value(key.field, value)
                for key, value in zip(keys, values, strict=True)
            ]
    except ValueError:
        pass
    message = "is not the cursor of this list in this order"
    raise Refused(Problem("bad_cursor", message, "cursor"), status=400)


def _sort_words(keys: Sequence[_SortKey]) -> list[str]:
    return [("-" if key.descending else "") + key.field.name for key in keys]
