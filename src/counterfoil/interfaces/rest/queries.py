"""Queries over HTTP: fields of related records by path, related records, aggregates."""

from collections.abc import Mapping

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.exchange import Answer, Call
from counterfoil.interfaces.rest.list_queries import DEFAULT_LIMIT, OPERATORS
from counterfoil.interfaces.rest.records import entity_asked_for, json_object
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.pages import OPERATORS as RECORD_OPERATORS
from counterfoil.platform.records.pages import Filter
from counterfoil.platform.records.paths import All, Any_, Not, Where
from counterfoil.platform.records.querying import (
    FUNCTIONS,
    Aggregate,
    Grouping,
    Query,
)
from counterfoil.platform.records.unit_of_work import UnitOfWork

DEEPEST = 12
RECORD_KEYS = ("fields", "include", "where", "sort", "limit", "cursor")
GROUP_KEYS = ("group_by", "aggregates", "where", "sort", "limit")
WHERE_KEYS = ("field", "op", "value", "and", "or", "not")
AGGREGATE_KEYS = ("function", "field", "as")


def query_records(uow: UnitOfWork, call: Call) -> Answer:
    """One page of what the body asks for; with ``aggregates`` one row per group."""
    entity = entity_asked_for(uow.catalogue, call)
    body = json_object(call)
    if "aggregates" in body or "group_by" in body:
        rows = uow.aggregate(entity.name, read_grouping(body))
        return json_answer({"groups": rows})
    query, include = read_query(body)
    page = uow.query_records(entity.name, query, include)
    return json_answer({"records": page.records, "next_cursor": page.next_cursor})


def read_query(body: Record) -> tuple[Query, tuple[str, ...]]:
    """A page's body as a query, and what it includes."""
    refuse_other_keys(body, RECORD_KEYS, "")
    cursor = body.get("cursor")
    if cursor is not None and not isinstance(cursor, str):
        raise Refused(Problem("wrong_type", "has to be a text", "cursor"))
    query = Query(
        fields=texts(body, "fields"),
        where=read_where(body.get("where")),
        sort=texts(body, "sort") or ("id",),
        cursor=cursor,
        limit=limit_of(body, DEFAULT_LIMIT),
    )
    return query, texts(body, "include")


def read_grouping(body: Record) -> Grouping:
    """A body with aggregates as a grouping."""
    refuse_other_keys(body, GROUP_KEYS, "")
    given = body.get("aggregates") or []
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise Refused(Problem("not_a_list", "has to be a list of JSON objects", "aggregates"))
    return Grouping(
        aggregates=tuple(read_aggregate(one, place) for place, one in enumerate(given)),
        group_by=texts(body, "group_by"),
        where=read_where(body.get("where")),
        sort=texts(body, "sort"),
        limit=limit_of(body, 1000),
    )


def read_aggregate(given: Mapping[str, object], place: int) -> Aggregate:
    """One ``{"function": "sum", "field": "amount", "as": "total"}``."""
    where = f"aggregates[{place}]"
    refuse_other_keys(given, AGGREGATE_KEYS, where)
    function, field, name = (given.get(key) for key in AGGREGATE_KEYS)
    if function not in FUNCTIONS:
        message = f"{function!r} is no function"
        raise Refused(Problem("unknown_function", message, f"{where}.function", FUNCTIONS))
    if not isinstance(field, str) and (field is not None or function != "count"):
        raise Refused(Problem("wrong_type", "has to name a field", f"{where}.field"))
    field = field or ""
    default = f"{function}_{field}" if field else str(function)
    if name is not None and not (isinstance(name, str) and 0 < len(name) <= 60):
        raise Refused(Problem("wrong_type", "has to be a text of 1 to 60", f"{where}.as"))
    return Aggregate(function, str(field), str(name or default))


def read_where(given: object, depth: int = 0) -> Where | None:
    """A condition: ``{"field", "op", "value"}``, ``{"and": […]}``, ``{"or": […]}``, ``{"not": …}``,
    or a list of which all are met."""
    if given is None:
        return None
    if depth > DEEPEST:
        raise Refused(Problem("too_deep", "is nested too deeply", "where"))
    if isinstance(given, list):
        return All(tuple(read_part(part, depth) for part in given))
    if not isinstance(given, dict):
        raise Refused(Problem("wrong_type", "has to be a condition", "where"))
    refuse_other_keys(given, WHERE_KEYS, "where")
    for word, combined in (("and", All), ("or", Any_)):
        if given.keys() == {word}:
            parts = given[word]
            if not isinstance(parts, list):
                raise Refused(Problem("not_a_list", "has to be a list", f"where.{word}"))
            return combined(tuple(read_part(part, depth) for part in parts))
    if given.keys() == {"not"}:
        return Not(read_part(given["not"], depth))
    field, op = given.get("field"), given.get("op", "eq")
    if not isinstance(field, str) or given.keys() - {"field", "op", "value"}:
        message = "is either a field with op and value, or one of and, or, not"
        raise Refused(Problem("wrong_type", message, "where"))
    known = OPERATORS.get(op, op) if isinstance(op, str) else None
    if known not in RECORD_OPERATORS:
        message = f"there is no comparison {op!r}"
        raise Refused(Problem("unknown_operator", message, field, ("eq", *OPERATORS)))
    return Filter(field, known, given.get("value"))


def read_part(given: object, depth: int) -> Where:
    """A condition within another; it cannot be absent."""
    where = read_where(given, depth + 1)
    if where is None:
        raise Refused(Problem("required", "a condition is missing", "where"))
    return where


def texts(body: Mapping[str, object], key: str) -> tuple[str, ...]:
    """A list of names, which may also be one text with commas."""
    given = body.get(key)
    if given is None:
        return ()
    if isinstance(given, str):
        return tuple(part.strip() for part in given.split(",") if part.strip())
    if isinstance(given, list) and all(isinstance(one, str) for one in given):
        return tuple(given)
    raise Refused(Problem("not_a_list", "has to be a list of texts", key))


def limit_of(body: Mapping[str, object], default: int) -> int:
    """The length of a page; whether it is possible the records room says."""
    limit = body.get("limit", default)
    if type(limit) is not int:
        raise Refused(Problem("wrong_type", "has to be a whole number", "limit"))
    return limit


def refuse_other_keys(given: Mapping[str, object], allowed: tuple[str, ...], where: str) -> None:
    """Refuse keys that mean nothing, naming those that do."""
    problems = [
        Problem(
            "unknown_field",
            "means nothing here",
            f"{where}.{key}" if where else key,
            allowed=allowed,
        )
        for key in given
        if key not in allowed
    ]
    if problems:
        raise Refused(problems)
