"""Queries over an entity and what it refers to: records with paths, and aggregates; pure plans."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Numeric, Select, cast, func, select

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import FieldType
from counterfoil.platform.records.pages import (
    LONGEST_PAGE,
    UNSORTED,
    Page,
    SortKey,
    decode_cursor,
    encode_cursor,
    records_after,
)
from counterfoil.platform.records.paths import Paths, Place, Where

MOST_FIELDS = 200

Function = Literal["count", "count_distinct", "sum", "min", "max", "avg"]
FUNCTIONS: tuple[Function, ...] = get_args(Function)

_NUMBERS = (FieldType.DECIMAL, FieldType.INTEGER)
_UNORDERED = (*UNSORTED, FieldType.BOOLEAN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A page of records: which fields and paths, of which records, in which order.

    Without ``fields`` a record has all its own. ``sort`` names fields and paths; ``-path``
    descends.
    """

    fields: tuple[str, ...] = ()
    where: Where | None = None
    sort: tuple[str, ...] = ("id",)
    cursor: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One value per group: a function of a field or path, under a name. Count needs no field."""

    function: Function
    field: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Aggregates of records, one row for each combination of the values of ``group_by``.

    ``sort`` names paths of ``group_by`` and aggregates.
    """

    aggregates: tuple[Aggregate, ...]
    group_by: tuple[str, ...] = ()
    where: Where | None = None
    sort: tuple[str, ...] = ()
    limit: int = LONGEST_PAGE


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """A checked query: its statement, and how its rows become a page."""

    statement: Select[Any]
    names: tuple[str, ...]
    keys: tuple[SortKey, ...]
    limit: int

    def page(self, rows: Sequence[Sequence[object]]) -> Page:
        """The page from the rows of the statement, which asks for one more than the limit."""
        records = [dict(zip(self.names, row, strict=False)) for row in rows[: self.limit]]
        if len(rows) <= self.limit:
            return Page(records, None)
        last = rows[self.limit - 1][len(self.names) :]
        return Page(records, encode_cursor(self.keys, last))


def plan_query(paths: Paths, query: Query) -> QueryPlan:
    """The one statement of a page; refuses (422) with all problems at once."""
    problems: list[Problem] = []
    names = query.fields or tuple(field.name for field in paths.entity.readable)
    problems += _too_many(names, "fields")
    columns = [place.column for place in _places(paths, names, problems)]
    keys = _sort_keys(paths, query.sort, problems)
    condition = _checked(paths, query.where, problems)
    _check_limit(query.limit, problems)
    if problems:
        raise Refused(problems)
    statement = (
        select(*_labelled([*columns, *(key.column for key in keys)]))
        .select_from(paths.tables)
        .where(condition)
    )
    if query.cursor is not None:
        statement = statement.where(records_after(keys, decode_cursor(keys, query.cursor)))
    statement = statement.order_by(*(key.order for key in keys)).limit(query.limit + 1)
    return QueryPlan(statement, names, keys, query.limit)


def plan_grouping(paths: Paths, grouping: Grouping) -> tuple[Select[Any], tuple[str, ...]]:
    """The one statement of aggregates and the names of its columns; refuses (422) as a whole."""
    problems: list[Problem] = []
    groups = _places(paths, grouping.group_by, problems)
    problems += [
        Problem("unknown_field", "cannot be grouped by", path)
        for path, place in zip(grouping.group_by, groups, strict=False)
        if place.field.type in UNSORTED
    ]
    values = [_aggregated(paths, one, problems) for one in grouping.aggregates]
    names = (*grouping.group_by, *(one.name for one in grouping.aggregates))
    problems += _too_many(names, "aggregates") or _double_names(names)
    if not grouping.aggregates:
        problems.append(Problem("required", "at least one is needed", "aggregates"))
    condition = _checked(paths, grouping.where, problems)
    _check_limit(grouping.limit, problems)
    by_name = dict(zip(names, [*(place.column for place in groups), *values], strict=False))
    order = [
        _ordering(word, by_name, problems)
        for word in grouping.sort or tuple(path for path in grouping.group_by)
    ]
    if problems:
        raise Refused(problems)
    columns = [place.column for place in groups]
    statement = (
        select(*_labelled([*columns, *values]))
        .select_from(paths.tables)
        .where(condition)
        .group_by(*columns)
        .order_by(*order)
        .limit(grouping.limit)
    )
    return statement, names


def _labelled(columns: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    return [column.label(f"c{place}") for place, column in enumerate(columns)]


def _places(paths: Paths, names: Sequence[str], problems: list[Problem]) -> list[Place]:
    places: list[Place] = []
    for name in names:
        try:
            places.append(paths.place(name))
        except Refused as refused:
            problems.extend(refused.problems)
    return places


def _checked(paths: Paths, where: Where | None, problems: list[Problem]) -> ColumnElement[bool]:
    try:
        return paths.condition(where)
    except Refused as refused:
        problems.extend(refused.problems)
        return paths.condition(None)


def _check_limit(limit: int, problems: list[Problem]) -> None:
    if not 1 <= limit <= LONGEST_PAGE:
        problems.append(Problem("bad_limit", f"must be from 1 to {LONGEST_PAGE}", "limit"))


def _sort_keys(paths: Paths, sort: Sequence[str], problems: list[Problem]) -> tuple[SortKey, ...]:
    keys: dict[str, SortKey] = {}
    for word in (*sort, "id"):
        name = word.removeprefix("-")
        try:
            place = paths.place(name)
        except Refused as refused:
            problems.extend(refused.problems)
            continue
        if place.field.type in UNSORTED:
            problems.append(Problem("unknown_field", "cannot be sorted by", name))
            continue
        descending = word.startswith("-")
        keys.setdefault(name, SortKey(name, place.field, place.column, place.nullable, descending))
    return tuple(keys.values())


def _ordering(
    word: str, by_name: Mapping[str, ColumnElement[Any]], problems: list[Problem]
) -> ColumnElement[Any]:
    name = word.removeprefix("-")
    column = by_name.get(name)
    if column is None:
        message = "is neither grouped by nor an aggregate"
        problems.append(Problem("unknown_field", message, name, allowed=tuple(by_name)))
        return func.count()
    return column.desc() if word.startswith("-") else column.asc()


def _aggregated(paths: Paths, one: Aggregate, problems: list[Problem]) -> ColumnElement[Any]:
    if one.function == "count" and not one.field:
        return func.count()
    try:
        place = paths.place(one.field)
    except Refused as refused:
        problems.extend(refused.problems)
        return func.count()
    kind = place.field.type
    wrong = (one.function in ("sum", "avg") and kind not in _NUMBERS) or (
        one.function in ("min", "max") and kind in _UNORDERED
    )
    if wrong or kind in UNSORTED:
        problems.append(Problem("wrong_function", f"has no {one.function}", one.field))
        return func.count()
    column = place.column
    match one.function:
        case "count":
            return func.count(column)
        case "count_distinct":
            return func.count(column.distinct())
        case "sum":
            # A sum of bigint may not fit into one.
            return func.sum(cast(column, Numeric))
        case "avg":
            return func.avg(cast(column, Numeric))
        case "min":
            return func.min(column)
        case "max":
            return func.max(column)


def _too_many(names: Sequence[str], field: str) -> list[Problem]:
    message = f"at most {MOST_FIELDS} at once"
    return [Problem("too_many_fields", message, field)] if len(names) > MOST_FIELDS else []


def _double_names(names: Sequence[str]) -> list[Problem]:
    return [
        Problem("double_name", "stands twice in the answer", name)
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
