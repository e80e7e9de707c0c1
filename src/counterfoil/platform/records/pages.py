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
from sqlalchemy import ARRAY, ColumnElement, Select, Table, and_, any_, false, literal, or_, select

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
class SortKey:
    """One part of a sort order: under which name, and by which column."""

    name: str
    field: Field
    column: ColumnElement[Any]
    nullable: bool
    descending: bool

    @property
    def order(self) -> ColumnElement[Any]:
        """The part of ORDER BY."""
        return self.column.desc() if self.descending else self.column.asc()


@dataclass(frozen=True, slots=True)
class Listing:
    """A checked request for a page of one entity."""

    statement: Select[tuple[object, ...]]
    keys: tuple[SortKey, ...]
    limit: int

    def page(self, rows: Sequence[Record]) -> Page:
        """The page from the rows of the statement, which asks for one more than the limit."""
        records = list(rows[: self.limit])
        if len(rows) <= self.limit:
            return Page(records, None)
        last = records[-1]
        return Page(records, encode_cursor(self.keys, [last[key.name] for key in self.keys]))


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
    keys = _sort_keys(entity, table, sort, problems)
    if not 1 <= limit <= LONGEST_PAGE:
        problems.append(Problem("bad_limit", f"must be from 1 to {LONGEST_PAGE}", "limit"))
    if problems:
        raise Refused(problems)
    if cursor is not None:
        conditions.append(records_after(keys, decode_cursor(keys, cursor)))
    statement = (
        select(*shown_columns(entity, table))
        .where(*conditions)
        .order_by(*(key.order for key in keys))
        .limit(limit + 1)
    )
    return Listing(statement, keys, limit)


def shown_columns(entity: Entity, table: Table) -> list[ColumnElement[Any]]:
    """The columns of a record that leaves this room: secrets stay, formulas are computed."""
    return [field_column(table, field).label(field.name) for field in entity.readable]


UNSORTED = (FieldType.DOCUMENT, FieldType.MULTI_CHOICE)
"""Types of values that have no order."""


def _sort_keys(
    entity: Entity, table: Table, sort: Sequence[str], problems: list[Problem]
) -> tuple[SortKey, ...]:
    keys: list[SortKey] = []
    for word in (*sort, "id"):
        name = word.removeprefix("-")
        field = entity.field(name)
        if field is None or field.secret or field.type in UNSORTED:
            allowed = tuple(known.name for known in entity.readable if known.type not in UNSORTED)
            problems.append(
                Problem("unknown_field", f"cannot sort by {name}", "sort", allowed=allowed)
            )
        elif all(key.name != name for key in keys):
            column = field_column(table, field)
            nullable = field.custom or not field.required
            keys.append(SortKey(name, field, column, nullable, word.startswith("-")))
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
    return column_condition(field, field_column(table, field), condition)


def column_condition(
    field: Field, column: ColumnElement[Any], condition: Filter
) -> ColumnElement[bool]:
    """One filter of a field that stands in that column."""
    allowed = _operators(field)
    if condition.op not in allowed:
        message = f"cannot be filtered with {condition.op!r}"
        raise Refused(Problem("unknown_operator", message, condition.field, allowed=allowed))
    try:
        return _CONDITIONS[condition.op](column, field, condition.value)
    except (TypeError, ValueError) as error:
        raise Refused(Problem("wrong_value", str(error), condition.field, field.choices)) from None


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
    # One parameter, however many values: PostgreSQL takes no more than 65,535.
    read = [read_value(field, item) for item in values]
    return column == any_(literal(read, ARRAY(column.type)))


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


def records_after(keys: Sequence[SortKey], values: Sequence[object]) -> ColumnElement[bool]:
    """Records that sort behind the given one: later in the first key, or equal and so on."""
    alternatives: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for key, value in zip(keys, values, strict=True):
        alternatives.append(and_(*equal, _behind(key, value)))
        equal.append(
            key.column.is_(None) if value is None else key.column == literal(value, key.column.type)
        )
    return or_(*alternatives)


def _behind(key: SortKey, value: object) -> ColumnElement[bool]:
    """PostgreSQL sorts NULL as the greatest value."""
    if value is None:
        return key.column.is_not(None) if key.descending else false()
    if key.descending:
        return key.column < literal(value, key.column.type)
    later = key.column > literal(value, key.column.type)
    return or_(later, key.column.is_(None)) if key.nullable else later


def encode_cursor(keys: Sequence[SortKey], values: Sequence[object]) -> str:
    """The cursor that continues behind the record with these values of the sort keys."""
    plain = [format(value, "f") if isinstance(value, Decimal) else value for value in values]
    return (
        base64.urlsafe_b64encode(encode_json([_sort_words(keys), plain]).encode())
        .decode()
        .rstrip("=")
    )


def decode_cursor(keys: Sequence[SortKey], cursor: str) -> list[object]:
    """The values of the sort keys in a cursor; refuses (400) one of another order."""
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


def _sort_words(keys: Sequence[SortKey]) -> list[str]:
    return [("-" if key.descending else "") + key.name for key in keys]
