"""Usage over HTTP: CloudEvents, uploaded files, and the second chance of rejected records."""

from collections.abc import Mapping
from typing import cast
from urllib.parse import unquote

import msgspec

from counterfoil.business.usage.commands import dismiss_rejected, import_file, rerun_rejected
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import decode_json, json_answer
from counterfoil.interfaces.rest.bodies import body_schema, command_body, whole_numbers
from counterfoil.interfaces.rest.exchange import (
    JSON,
    MEGABYTE,
    Answer,
    Call,
    Desk,
    Endpoint,
    Parameter,
)
from counterfoil.interfaces.rest.idempotency import once, repeatable
from counterfoil.interfaces.rest.schemas import Schema
from counterfoil.platform.metadata import Entity, Field, FieldType, Record

CLOUD_EVENT = "application/cloudevents+json"
CLOUD_EVENTS = "application/cloudevents-batch+json"

RERUN = Entity(
    name="rerun",
    plural="reruns",
    fields=(
        Field(name="ids", type=FieldType.DOCUMENT, help="Ids of open rejected records; or all."),
        Field(name="reason", help="Only records rejected for this reason."),
        Field(
            name="mended",
            type=FieldType.DOCUMENT,
            help="Id of a rejected record to the fields to replace in it before.",
        ),
    ),
)

DISMISSAL = Entity(
    name="dismissal",
    plural="dismissals",
    fields=(
        Field(name="ids", type=FieldType.DOCUMENT, help="Ids of open rejected records."),
        Field(name="reason", help="All open records rejected for this reason."),
    ),
)

EVENT_SCHEMA: Schema = {
    "type": "object",
    "description": "CloudEvents 1.0. Of the collector cloudevents: subject is the usage "
    "identifier of a subscription, type the meter, data.quantity the quantity (1 where absent).",
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "type": {"type": "string", "minLength": 1},
        "subject": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "data": {"type": "object"},
    },
    "required": ["specversion", "id", "source", "type"],
}
EVENT_EXAMPLE = {
    "specversion": "1.0",
    "id": "call-1",
    "source": "/bridges/fra-1",
    "type": "premier_dial_out",
    "subject": "bridge-4711",
    "time": "2026-01-15T09:30:00Z",
    "data": {"quantity": 1800},
}
EVENTS_SCHEMA: Schema = {"type": "array", "items": EVENT_SCHEMA}
EVENT_TYPES: Mapping[str, Schema] = {
    CLOUD_EVENTS: EVENTS_SCHEMA,
    CLOUD_EVENT: EVENT_SCHEMA,
    JSON: {"anyOf": [EVENTS_SCHEMA, EVENT_SCHEMA]},
}
"""The media types that events are taken in, with their schemas."""

COUNTS = ("accepted", "duplicate", "rejected")
REJECTION: Schema = {
    "type": "object",
    "properties": {
        "index": {"type": "integer", "description": "Of the event in the request, from 0."},
        "reason": {"type": "string"},
        "message": {"type": "string"},
    },
}
COUNTED: Schema = {
    "type": "object",
    "properties": {
        "batch_id": {"type": "integer"},
        **{name: {"type": "integer"} for name in COUNTS},
        "rejections": {"type": "array", "items": REJECTION},
    },
}
BATCH: Schema = {
    "type": "object",
    "properties": {
        **{name: {"type": "integer"} for name in ("batch_id", "records_read", *COUNTS, "skipped")},
        "file_name": {"type": "string"},
        "rejected_by_reason": {"type": "object", "additionalProperties": {"type": "integer"}},
        "already_imported": {"type": "boolean"},
    },
}


def binary_event(headers: Mapping[str, str], body: bytes) -> bytes:
    """A CloudEvent in binary mode (attributes in ``ce-`` headers) as one in structured mode."""
    event: dict[str, object] = {
        name.removeprefix("ce-"): unquote(value)
        for name, value in headers.items()
        if name.startswith("ce-")
    }
    if body.strip():
        decode_json(body)
        event["data"] = msgspec.Raw(body)
    return msgspec.json.encode(event)


def post_events(desk: Desk, call: Call) -> Answer:
    """Accept usage events; answered when they are stored durably."""
    kind = call.media_type
    if "ce-id" in call.headers or "ce-specversion" in call.headers:
        receipt = desk.gatherer.submit(binary_event(call.headers, call.body))
    elif kind in EVENT_TYPES:
        receipt = desk.gatherer.submit(call.body)
    else:
        problem = Problem(
            "unsupported_media_type", f"the body is {kind}", "Content-Type", tuple(EVENT_TYPES)
        )
        raise Refused(problem, status=415)
    counts = {
        "batch_id": receipt.batch_id,
        "accepted": receipt.accepted,
        "duplicate": receipt.duplicate,
        "rejected": len(receipt.rejected),
        "rejections": receipt.rejected,
    }
    return Answer(200, msgspec.json.encode(counts))


def post_file(desk: Desk, call: Call) -> Answer:
    """Import the uploaded file; the same file again changes nothing."""
    given = dict(call.query)
    if not given.get("collector"):
        message = "name the collector that reads the file: ?collector=…"
        raise Refused(Problem("required", message, "collector"))
    organisation = desk.organisation
    if call.upload is None:
        raise Refused(Problem("empty_body", "send the file as the body"), status=400)
    summary = import_file(
        organisation.database,
        organisation.usage_store,
        given["collector"],
        call.upload,
        now=organisation.clock(),
    )
    return json_answer(summary)


def post_rerun(desk: Desk, call: Call) -> Answer:
    """Take rejected records in again, mended or not."""
    body = command_body(call, RERUN)
    organisation = desk.organisation
    summary = rerun_rejected(
        organisation.database,
        organisation.usage_store,
        now=organisation.clock(),
        ids=whole_numbers(body["ids"], "ids"),
        reason=cast("str | None", body["reason"]),
        mended=mended_records(body["mended"]),
    )
    return json_answer(summary)


def mended_records(value: object) -> dict[int, Record]:
    """Record id to changed fields; JSON has only text for the ids."""
    if value is None:
        return {}
    if isinstance(value, dict) and all(
        key.isascii() and key.isdigit() and isinstance(changes, dict)
        for key, changes in value.items()
    ):
        return {int(key): changes for key, changes in value.items()}
    message = "has to be an object: id of a rejected record to the fields to replace"
    raise Refused(Problem("wrong_type", message, "mended"))


def post_dismissal(desk: Desk, call: Call) -> Answer:
    """Give up rejected records; they stay listed."""
    body = command_body(call, DISMISSAL)
    organisation = desk.organisation
    count = dismiss_rejected(
        organisation.database,
        now=organisation.clock(),
        ids=whole_numbers(body["ids"], "ids"),
        reason=cast("str | None", body["reason"]),
    )
    return json_answer({"dismissed": count})


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/usage/events",
        command="send_usage",
        handler=repeatable(post_events),
        summary="Accept usage events (CloudEvents 1.0)",
        help="Structured mode, singly or in batches, or one event in binary mode. Answered when "
        "the events are durable; an event that comes twice counts once. Rejected events are kept "
        "and can be mended.",
        bodies=EVENT_TYPES,
        examples={CLOUD_EVENT: EVENT_EXAMPLE, CLOUD_EVENTS: [EVENT_EXAMPLE]},
        answers={JSON: COUNTED},
        limit=64 * MEGABYTE,
        patient=True,
        makes=("usage_batch", "usage_segment", "rejected_usage", "usage_cursor"),
    ),
    Endpoint(
        method="POST",
        path="/usage/files",
        command="import_usage",
        handler=once(post_file),
        summary="Import a usage file",
        help="The body is the file itself, of any size, whatever its media type.",
        parameters=(
            Parameter(name="collector", required=True, help="External id of the collector."),
            Parameter(name="name", help="The file's name, to be found again by."),
        ),
        bodies={"application/octet-stream": {}},
        answers={JSON: BATCH},
        streamed=True,
    ),
    Endpoint(
        method="POST",
        path="/rejected-usage/rerun",
        command="rerun_usage",
        handler=once(post_rerun),
        summary="Take rejected usage in again",
        bodies=body_schema(RERUN),
        answers={JSON: BATCH},
    ),
    Endpoint(
        method="POST",
        path="/rejected-usage/dismiss",
        command="dismiss_usage",
        handler=once(post_dismissal),
        summary="Give up rejected usage",
        bodies=body_schema(DISMISSAL),
        answers={JSON: {"type": "object", "properties": {"dismissed": {"type": "integer"}}}},
    ),
)
