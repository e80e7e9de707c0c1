"""Bill runs, previews, current charges, finalization, explanations, documents of invoices."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import cast

from counterfoil.business.billing.commands import run_bills
from counterfoil.business.billing.current import current_charges
from counterfoil.business.billing.drafts import refresh_drafts
from counterfoil.business.billing.explanation import explain_line
from counterfoil.business.billing.finalizing import finalize_invoices
from counterfoil.business.billing.included import included_quantities
from counterfoil.business.billing.queries import preview_invoice
from counterfoil.business.billing.spending import spending
from counterfoil.business.documents.export import invoice_csv, invoice_json
from counterfoil.business.documents.pdf import render_pdf
from counterfoil.business.documents.queries import document_name, read_document
from counterfoil.business.receivables.commands import apply_credits, apply_to_bill_run
from counterfoil.business.receivables.queries import read_settlements
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.exchange import named_file
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import body_schema, command_body, whole_numbers
from counterfoil.interfaces.rest.exchange import (
    JSON,
    Answer,
    Call,
    Desk,
    Endpoint,
    Parameter,
    day_asked,
)
from counterfoil.interfaces.rest.idempotency import once, reading
from counterfoil.interfaces.rest.records import record_id
from counterfoil.interfaces.rest.schemas import Schema
from counterfoil.platform.metadata import Entity, Field, FieldType, Record
from counterfoil.platform.metadata.validation import read_value
from counterfoil.platform.records.unit_of_work import UnitOfWork

BILL_RUN_REQUEST = Entity(
    name="bill_run_request",
    plural="bill_run_requests",
    fields=(
        Field(
            name="billing_date",
            type=FieldType.DATE,
            required=True,
            help="Everything due by the start of this day, in each account's time zone.",
        ),
        Field(
            name="finalize",
            type=FieldType.BOOLEAN,
            default=True,
            help="False leaves the invoices as drafts.",
        ),
    ),
)

FINALIZATION = Entity(
    name="finalization",
    plural="finalizations",
    fields=(
        Field(
            name="invoice_ids",
            type=FieldType.DOCUMENT,
            help="Ids of drafts to finalize; all drafts where absent.",
        ),
    ),
)

REFRESH = Entity(
    name="refresh",
    plural="refreshes",
    fields=(
        Field(
            name="today",
            type=FieldType.DATE,
            help="Drafts are final whose days of grace are over by this day; today where absent.",
        ),
    ),
)

BILLING_DATE = Field(name="billing_date", type=FieldType.DATE, required=True)
PREVIEW_DATE = Parameter(
    name="billing_date", required=True, format="date", help="As of which day to preview."
)

AS_OF = Parameter(
    name="as_of",
    format="date",
    help="Print also what was paid by the end of this day, and the balance due.",
)

_AMOUNT: Schema = {"type": ["string", "null"], "format": "decimal"}
CURRENT: Schema = {
    "type": "object",
    "properties": {
        "account": {"type": "string"},
        "billed_account": {"type": "string"},
        "currency": {"type": "string"},
        "today": {"type": "string", "format": "date"},
        "charges": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "state": {"enum": ["running", "due", "late"]},
                    "quantity": _AMOUNT,
                    "included_quantity": _AMOUNT,
                    "amount": _AMOUNT,
                    "last_event_at": {"type": ["string", "null"], "format": "date-time"},
                },
            },
        },
        "meters": {"type": "array", "items": {"type": "object"}},
        **dict.fromkeys(("due", "running", "total"), _AMOUNT),
        "problems": {"type": "array", "items": {"type": "object"}},
    },
}


def post_bill_run(desk: Desk, call: Call) -> Answer:
    """Bill everything due by a date; doing it again adds nothing."""
    body = command_body(call, BILL_RUN_REQUEST)
    organisation = desk.organisation
    summary = run_bills(
        organisation.database,
        organisation.usage_store,
        cast("date", body["billing_date"]),
        now=organisation.clock(),
        finalize=body["finalize"] is not False,
        runner=organisation.runner,
    )
    with organisation.database.transaction(now=organisation.clock()) as uow:
        apply_to_bill_run(uow, summary.bill_run_id)
    return json_answer(summary)


def post_finalization(desk: Desk, call: Call) -> Answer:
    """Give drafts their numbers and make them final."""
    body = command_body(call, FINALIZATION)
    organisation = desk.organisation
    done = finalize_invoices(
        organisation.database,
        now=organisation.clock(),
        invoice_ids=whole_numbers(body["invoice_ids"], "invoice_ids"),
    )
    with organisation.database.transaction(now=organisation.clock()) as uow:
        apply_credits(uow)
    return json_answer({"finalized": done.final, "kept_back": done.held, "waiting": done.waiting})


def post_refresh(desk: Desk, call: Call) -> Answer:
    """Compute drafts anew; finalize those whose days of grace are over."""
    body = command_body(call, REFRESH) if call.body else {}
    organisation = desk.organisation
    done = refresh_drafts(
        organisation.database,
        organisation.usage_store,
        now=organisation.clock(),
        today=cast("date | None", body.get("today")),
        runner=organisation.runner,
    )
    with organisation.database.transaction(now=organisation.clock()) as uow:
        apply_credits(uow)
    return json_answer(done)


def get_preview(desk: Desk, call: Call) -> Answer:
    """The next invoice of an account as it would be; stores nothing."""
    given = dict(call.query)
    try:
        billing_date = read_value(BILLING_DATE, given.get("billing_date", ""))
    except ValueError as error:
        raise Refused(Problem("wrong_value", str(error), "billing_date")) from None
    organisation = desk.organisation
    preview = preview_invoice(
        organisation.database,
        organisation.usage_store,
        call.variables["external_id"],
        cast("date", billing_date),
        now=organisation.clock(),
    )
    return json_answer(preview)


def _told_of_account(desk: Desk, call: Call, question: Callable[..., object]) -> Answer:
    """What the question answers about the account in the path, as of now."""
    organisation = desk.organisation
    account = call.variables["external_id"]
    found = question(
        organisation.database, organisation.usage_store, account, now=organisation.clock()
    )
    return json_answer(found)


def get_current_charges(desk: Desk, call: Call) -> Answer:
    """Usage and charges of an account up to now; stores nothing."""
    return _told_of_account(desk, call, current_charges)


def get_included(desk: Desk, call: Call) -> Answer:
    """What an account may still use without charge in its running cycles; stores nothing."""
    return _told_of_account(desk, call, included_quantities)


def get_spending(desk: Desk, call: Call) -> Answer:
    """What counts for the thresholds of an account in their running periods; stores nothing."""
    return _told_of_account(desk, call, spending)


def get_explanation(desk: Desk, call: Call) -> Answer:
    """The counterfoil of one invoice line."""
    organisation = desk.organisation
    with organisation.database.transaction(now=organisation.clock()) as uow:
        return json_answer(explain_line(uow, organisation.usage_store, record_id(call)))


Rendering = Callable[[Record, Sequence[Record]], bytes | str]


def document_endpoint(
    suffix: str, media_type: str, render: Rendering, *parameters: Parameter
) -> Endpoint:
    """The endpoint of an invoice in one format."""

    def get_document(uow: UnitOfWork, call: Call) -> Answer:
        invoice, lines = read_document(uow, call.variables["id"])
        day = day_asked(call, AS_OF.name) if parameters else None
        if day is not None:
            found = read_settlements(uow, [cast("int", invoice["id"])], day)
            invoice = {**invoice, "settlement": found.get(cast("int", invoice["id"]))}
        content = render(invoice, lines)
        body = content.encode() if isinstance(content, str) else content
        name = f"{document_name(invoice)}.{suffix}"
        return Answer(200, body, media_type, named_file(name, "inline"))

    return Endpoint(
        method="GET",
        path=f"/invoices/{{id}}/document.{suffix}",
        command="print_invoices",
        subject="invoice",
        handler=reading(get_document),
        summary=f"An invoice as {suffix.upper()}",
        parameters=parameters,
        help="The invoice is named by its number or its id.",
        answers={media_type: {"type": "object" if suffix == "json" else "string"}},
    )


def one_invoice_csv(invoice: Record, lines: Sequence[Record]) -> str:
    """One invoice as CSV."""
    return invoice_csv([(invoice, lines)])


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/bill-runs",
        command="run_bills",
        handler=once(post_bill_run),
        summary="Bill everything due by a date",
        help="Running it again adds nothing.",
        bodies=body_schema(BILL_RUN_REQUEST),
        examples={JSON: {"billing_date": "2026-02-01"}},
        answers={JSON: {"type": "object"}},
        makes=(
            *(
                "bill_run",
                "billing_problem",
                "invoice",
                "rated_charge",
                "rated_charge_partial",
                "invoice_line",
            ),
            *("allowance_draw", "outgoing_event"),
        ),
    ),
    Endpoint(
        method="POST",
        path="/invoices/finalize",
        command="finalize_invoices",
        handler=once(post_finalization),
        summary="Make drafts final",
        bodies=body_schema(FINALIZATION),
        answers={
            JSON: {
                "type": "object",
                "properties": {
                    name: {"type": "integer"} for name in ("finalized", "kept_back", "waiting")
                },
            },
        },
    ),
    Endpoint(
        method="POST",
        path="/invoices/refresh-drafts",
        command="refresh_drafts",
        handler=once(post_refresh),
        summary="Compute drafts anew, with usage that came late",
        help="Those whose days of grace (of the billing profile) are over become final.",
        bodies=body_schema(REFRESH),
        answers={JSON: {"type": "object"}},
    ),
    Endpoint(
        method="GET",
        path="/accounts/{external_id}/included",
        command="see_included",
        subject="account",
        handler=get_included,
        summary="What an account may still use without charge",
        help="Per entitlement and running cycle: granted, used, left, and whether to go on.",
        answers={JSON: {"type": "array", "items": {"type": "object"}}},
    ),
    Endpoint(
        method="GET",
        path="/accounts/{external_id}/spending",
        command="see_spending",
        subject="account",
        handler=get_spending,
        summary="What counts for the thresholds of spending of an account",
        help="Per threshold its running period, what was spent in it, and whether it is reached.",
        answers={JSON: {"type": "array", "items": {"type": "object"}}},
    ),
    Endpoint(
        method="GET",
        path="/accounts/{external_id}/preview",
        command="preview_account",
        subject="account",
        handler=get_preview,
        summary="The next invoice of an account as it would be",
        parameters=(PREVIEW_DATE,),
        answers={JSON: {"type": "object"}},
    ),
    Endpoint(
        method="GET",
        path="/accounts/{external_id}/current-charges",
        command="see_current_charges",
        subject="account",
        handler=get_current_charges,
        summary="Usage and charges of an account that are not billed yet",
        help="Usage is in it as soon as it was answered. Cycles that run are priced as if they "
        "ended now; what is due and late usage stand beside them. Nothing is stored.",
        answers={JSON: CURRENT},
    ),
    Endpoint(
        method="GET",
        path="/invoice-lines/{id}/explanation",
        command="explain_amounts",
        subject="invoice_line",
        handler=get_explanation,
        summary="The counterfoil of an invoice line",
        answers={JSON: {"type": "object"}},
    ),
    document_endpoint("pdf", "application/pdf", render_pdf, AS_OF),
    document_endpoint("csv", "text/csv; charset=utf-8", one_invoice_csv),
    document_endpoint("json", JSON, invoice_json),
)
