"""The history over HTTP: of one record, of everything, and whether it is as it was written."""

from dataclasses import fields, replace
from datetime import datetime

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.exchange import SECONDS_OF_A_QUERY
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Endpoint, Parameter
from counterfoil.interfaces.rest.idempotency import reading
from counterfoil.interfaces.rest.list_queries import DEFAULT_LIMIT, MOST_PER_PAGE, page_length
from counterfoil.interfaces.rest.records import entity_asked_for, record_id
from counterfoil.interfaces.rest.schemas import Schema
from counterfoil.platform.records.history import HistoryQuery
from counterfoil.platform.records.sealing import seal_history, verify_history
from counterfoil.platform.records.unit_of_work import UnitOfWork

CHANGE: Schema = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "at": {"type": "string", "format": "date-time"},
        "actor": {"type": "string"},
        "source": {"type": "string", "examples": ["rest", "soap", "import", "rule", "job", "cli"]},
        "request_id": {"type": ["string", "null"]},
        "catalogue_version": {"type": "integer"},
        "entity": {"type": "string"},
        "record_id": {"type": "integer"},
        "action": {"type": "string", "enum": ["create", "update", "delete", "undelete"]},
        "row_version": {"type": "integer"},
        "changes": {"type": "object", "description": "Field to [old, new]."},
    },
}
PAGE: dict[str, Schema] = {
    JSON: {
        "type": "object",
        "properties": {
            "changes": {"type": "array", "items": CHANGE},
            "next_cursor": {"type": ["string", "null"]},
        },
    }
}
FILTERS = (
    Parameter(name="actor", help="Who made the change."),
    Parameter(name="source", help="Through what: ui, rest, soap, import, rule, job or cli."),
    Parameter(name="action", help="create, update, delete or undelete."),
    Parameter(name="request_id", help="The X-Request-Id of an answer."),
    Parameter(name="since", help="From this instant on.", format="date-time"),
    Parameter(name="until", help="Before this instant.", format="date-time"),
    Parameter(name="limit", kind="integer", help="Changes per page, 1 to 1000; 50 by default."),
    Parameter(name="cursor", help="next_cursor of the page before."),
)


def record_history(uow: UnitOfWork, call: Call) -> Answer:
    """The changes of one record, the newest first."""
    entity = entity_asked_for(uow.catalogue, call)
    asked = replace(asked_for(call), entity=entity.name, record_id=record_id(call))
    page = uow.history(asked)
    if not page.records and asked == HistoryQuery(entity=entity.name, record_id=asked.record_id):
        # Some entities keep none, and a record that cannot be seen is not there.
        uow.get(entity.name, record_id(call))
    return json_answer({"changes": page.records, "next_cursor": page.next_cursor})


def list_history(uow: UnitOfWork, call: Call) -> Answer:
    """The changes of all records, the newest first."""
    page = uow.history(asked_for(call))
    return json_answer({"changes": page.records, "next_cursor": page.next_cursor})


def asked_for(call: Call) -> HistoryQuery:
    """The query string as a question; refuses (422) what is none."""
    known = {field.name for field in fields(HistoryQuery)} - {"before", "limit"}
    asked: dict[str, object] = {}
    problems: list[Problem] = []
    for name, text in call.query:
        if name == "cursor":
            asked["before"] = text
        elif name == "limit":
            asked["limit"] = page_length(text) or 0
        elif name not in known:
            allowed = (*sorted(known), "limit", "cursor")
            problems.append(Problem("unknown_field", "is not asked for here", name, allowed))
        elif name in ("since", "until"):
            asked[name] = instant(text, name, problems)
        elif name == "record_id":
            asked[name] = whole(text, problems)
        else:
            asked[name] = text.replace("\x00", "")
    if asked.get("limit") == 0:
        message = f"has to be a whole number from 1 to {MOST_PER_PAGE}"
        problems.append(Problem("invalid_limit", message, "limit"))
    if problems:
        raise Refused(problems)
    return HistoryQuery(**({"limit": DEFAULT_LIMIT} | asked))  # type: ignore[arg-type]


def instant(text: str, name: str, problems: list[Problem]) -> datetime | None:
    """An instant with its offset."""
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        found = None
    if found is None or found.utcoffset() is None:
        message = "has to be an instant with its offset, such as 2026-01-31T12:00:00Z"
        problems.append(Problem("wrong_type", message, name))
        return None
    return found


def whole(text: str, problems: list[Problem]) -> int | None:
    """The id of a record."""
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    problems.append(Problem("wrong_type", "has to be the id of a record", "record_id"))
    return None


def get_verification(uow: UnitOfWork, call: Call) -> Answer:
    """Seal what is new, and go along the whole chain."""
    seal_history(uow)
    found = verify_history(uow, dict(call.query).get("head"))
    answer = {
        "whole": not found.fault,
        "sealed": found.sealed,
        "head": found.head,
        "broken": found.broken,
        "fault": found.fault or None,
    }
    return json_answer(answer)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/history",
        audience="signed_in",
        handler=reading(list_history, SECONDS_OF_A_QUERY),
        summary="Who changed what, the newest first",
        parameters=(
            Parameter(name="entity", help="For example invoice."),
            Parameter(name="record_id", kind="integer", help="The record's id."),
            *FILTERS,
        ),
        answers=PAGE,
    ),
    Endpoint(
        method="GET",
        path="/{collection}/{id}/history",
        audience="signed_in",
        handler=reading(record_history, SECONDS_OF_A_QUERY),
        summary="Who changed a record, the newest change first",
        parameters=FILTERS,
        answers=PAGE,
    ),
    Endpoint(
        method="GET",
        path="/history/verification",
        command="verify_history",
        handler=reading(get_verification),
        summary="Whether the history is as it was written",
        help="Names the first change that is not. Keep the head elsewhere: given again, it proves "
        "that the chain was not made anew.",
        parameters=(Parameter(name="head", help="The head of an earlier verification."),),
        answers={JSON: {"type": "object"}},
    ),
)
