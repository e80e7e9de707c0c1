"""Deciding over HTTP what rules have held back until somebody approves it."""

from typing import cast

from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import body_schema, command_body
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Endpoint
from counterfoil.interfaces.rest.idempotency import in_transaction
from counterfoil.interfaces.rest.records import record_id
from counterfoil.platform.metadata import Entity, Field
from counterfoil.platform.records.unit_of_work import UnitOfWork
from counterfoil.platform.rules.approving import decide

DECISION = Entity(
    name="decision",
    plural="decisions",
    fields=(Field(name="comment", max_length=1000, help="Why."),),
)
COMMAND = "decide_approvals"
ANSWER = {JSON: {"$ref": "#/components/schemas/Approval"}}


def post_approve(uow: UnitOfWork, call: Call) -> Answer:
    """Approve: the field gets the value now."""
    return _decided(uow, call, approved=True)


def post_reject(uow: UnitOfWork, call: Call) -> Answer:
    """Reject: the field keeps what it has."""
    return _decided(uow, call, approved=False)


def _decided(uow: UnitOfWork, call: Call, *, approved: bool) -> Answer:
    comment = command_body(call, DECISION)["comment"] if call.body else None
    done = decide(uow, record_id(call), approved=approved, comment=cast("str | None", comment))
    return json_answer(done)


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/approvals/{id}/approve",
        handler=in_transaction(post_approve),
        summary="Approve a new value: the field gets it now",
        bodies=body_schema(DECISION),
        answers=ANSWER,
        command=COMMAND,
        subject="approval",
        makes=("approval",),
    ),
    Endpoint(
        method="POST",
        path="/approvals/{id}/reject",
        handler=in_transaction(post_reject),
        summary="Reject a new value: the field keeps what it has",
        bodies=body_schema(DECISION),
        answers=ANSWER,
        command=COMMAND,
        subject="approval",
    ),
)
