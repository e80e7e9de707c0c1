"""Usage events that were wrong, withdrawn or replaced."""

from decimal import Decimal
from typing import cast

from counterfoil.business.usage.corrections import Correction, correct_usage
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import checked_rows, rows_schema
from counterfoil.interfaces.rest.exchange import JSON, MEGABYTE, Answer, Call, Desk, Endpoint
from counterfoil.interfaces.rest.idempotency import once
from counterfoil.platform.metadata import Entity, Field, FieldType

CORRECTION = Entity(
    name="correction",
    plural="corrections",
    fields=(
        Field(name="source", required=True),
        Field(name="event_id", required=True),
        Field(
            name="quantity",
            type=FieldType.DECIMAL,
            precision=38,
            scale=15,
            minimum=0,
            help="The right quantity, in the meter's unit; or withdraw.",
        ),
        Field(
            name="withdraw",
            type=FieldType.BOOLEAN,
            default=False,
            help="The event should not be there at all.",
        ),
        Field(name="reason", max_length=1000, help="Why; kept with the correction."),
    ),
)


def post_corrections(desk: Desk, call: Call) -> Answer:
    """Withdraw or replace usage events, all or none."""
    rows = checked_rows(call, CORRECTION)
    problems = [
        Problem("required", "give either quantity or withdraw", "quantity", line=line)
        for line, row in enumerate(rows, start=1)
        if (row["quantity"] is None) != bool(row["withdraw"])
    ]
    if problems:
        raise Refused(problems)
    corrections = [
        Correction(
            str(row["source"]),
            str(row["event_id"]),
            cast("Decimal | None", row["quantity"]),
            cast("str | None", row["reason"]),
        )
        for row in rows
    ]
    organisation = desk.organisation
    with organisation.database.transaction(now=organisation.clock()) as uow:
        return json_answer(correct_usage(uow, organisation.usage_store, corrections))


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/usage/corrections",
        command="correct_usage",
        handler=once(post_corrections),
        summary="Withdraw or replace usage events that were wrong",
        help="One correction, or many under `corrections`, all or none. The same correction again "
        "changes nothing.",
        bodies=rows_schema(CORRECTION),
        examples={JSON: {"source": "/bridges/fra-1", "event_id": "call-1", "quantity": "90"}},
        answers={JSON: {"type": "object"}},
        makes=("usage_correction",),
        limit=64 * MEGABYTE,
    ),
)
