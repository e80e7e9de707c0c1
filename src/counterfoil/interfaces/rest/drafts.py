"""Drafts approved, refused, merged and split."""

from collections.abc import Callable

from counterfoil.business.billing.approving import approve_drafts, refuse_drafts, waiting_drafts
from counterfoil.business.billing.arranging import merge_drafts, split_draft
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import body_schema, command_body, whole_numbers
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Endpoint
from counterfoil.interfaces.rest.idempotency import in_transaction, reading
from counterfoil.interfaces.rest.records import record_id
from counterfoil.platform.metadata import Entity, Record
from counterfoil.platform.metadata.fields import document, text
from counterfoil.platform.records.unit_of_work import UnitOfWork

DRAFTS = document("invoice_ids", required=True, help="Ids of drafts.")
APPROVAL = Entity(name="draft_approval", plural="draft_approvals", fields=(DRAFTS,))
REFUSAL = Entity(
    name="draft_refusal",
    plural="draft_refusals",
    fields=(DRAFTS, text("reason", required=True, max_length=500)),
)
MERGER = Entity(
    name="draft_merger",
    plural="draft_mergers",
    fields=(document("invoice_ids", required=True, help="Ids of drafts; all go into the first."),),
)
SPLIT = Entity(
    name="draft_split",
    plural="draft_splits",
    fields=(
        document("lines", required=True, help="Positions of the lines that go to a new draft."),
        text("purchase_order", max_length=60, help="What the new draft prints; else as before."),
    ),
)


def post_approval(uow: UnitOfWork, call: Call) -> Answer:
    """Approve drafts; answers with them."""
    body = command_body(call, APPROVAL)
    return json_answer({"invoices": approve_drafts(uow, _ids(body))})


def post_refusal(uow: UnitOfWork, call: Call) -> Answer:
    """Take drafts back; what they billed is due again."""
    body = command_body(call, REFUSAL)
    return json_answer({"refused": refuse_drafts(uow, _ids(body), str(body["reason"]))})


def post_merger(uow: UnitOfWork, call: Call) -> Answer:
    """Merge drafts into the first; answers with it."""
    return json_answer(merge_drafts(uow, _ids(command_body(call, MERGER))))


def post_split(uow: UnitOfWork, call: Call) -> Answer:
    """Put chosen lines of a draft on a new one; answers with both."""
    body = command_body(call, SPLIT)
    lines = whole_numbers(body["lines"], "lines") or []
    ordered = body["purchase_order"]
    both = split_draft(
        uow, record_id(call), lines, purchase_order=None if ordered is None else str(ordered)
    )
    return json_answer({"invoices": both}, 201)


def get_waiting(uow: UnitOfWork, call: Call) -> Answer:  # noqa: ARG001
    """Drafts that somebody has to approve."""
    return json_answer({"invoices": waiting_drafts(uow)})


def _ids(body: Record) -> list[int]:
    return whole_numbers(body["invoice_ids"], "invoice_ids") or []


def _endpoint(
    path: str,
    command: str,
    action: Callable[[UnitOfWork, Call], Answer],
    shape: Entity,
    said: str,
    *,
    subject: str = "",
    status: int = 200,
) -> Endpoint:
    return Endpoint(
        method="POST",
        path=path,
        command=command,
        subject=subject,
        handler=in_transaction(action),
        summary=said,
        bodies=body_schema(shape),
        answers={JSON: {"type": "object"}},
        status=status,
    )


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/waiting-drafts",
        command="approve_invoices",
        handler=reading(get_waiting),
        summary="Drafts that somebody has to approve",
        answers={JSON: {"type": "object"}},
    ),
    _endpoint(
        "/invoices/approve", "approve_invoices", post_approval, APPROVAL,
        "Approve drafts, so that they may become final",
    ),
    _endpoint(
        "/invoices/refuse", "approve_invoices", post_refusal, REFUSAL,
        "Take drafts back: what they billed is due again",
    ),
    _endpoint(
        "/invoices/merge", "arrange_drafts", post_merger, MERGER,
        "Merge drafts of one account, or of its tree, into one",
    ),
    _endpoint(
        "/invoices/{id}/split", "arrange_drafts", post_split, SPLIT,
        "Put chosen lines of a draft on a draft of their own", subject="invoice", status=201,
    ),
)  # fmt: skip
