"""Credit notes, voids and debit notes of final documents."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import cast

from counterfoil.business.billing.credit_notes import (
    DebitPart,
    credit_invoice,
    debit_invoice,
    reissue_invoice,
    void_invoice,
)
from counterfoil.business.billing.crediting import CreditPart
from counterfoil.business.billing.manual_documents import Request
from counterfoil.business.billing.reissuing import Reissued, reissue_rated_again
from counterfoil.business.receivables.commands import apply_credits
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import body_schema, command_body
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Desk, Endpoint
from counterfoil.interfaces.rest.idempotency import in_transaction
from counterfoil.platform.metadata import Entity, Field, FieldType, Record, check_values
from counterfoil.platform.records.unit_of_work import UnitOfWork

MONEY = {"type": FieldType.DECIMAL, "precision": 20, "scale": 4}
REQUEST = (
    Field(name="reason", required=True, max_length=500, help="Why; it stands on the document."),
    Field(name="date", type=FieldType.DATE, help="Of the document; today where absent."),
    Field(
        name="finalize", type=FieldType.BOOLEAN, default=True, help="False leaves it as a draft."
    ),
    Field(
        name="request_key",
        max_length=200,
        help="Your name of this request; asked again with it, nothing is added.",
    ),
)
PARTS_HELP = (
    "Of which lines, each an object: `line` (its position), and `amount`, `quantity` or, of a "
    "credit, `service_start` with `service_end` (the first day not credited). With `line` alone: "
    "all that is left of it."
)
CORRECTION = Entity(
    name="document_correction",
    plural="document_corrections",
    fields=(
        *REQUEST,
        Field(name="lines", type=FieldType.DOCUMENT, help=PARTS_HELP),
        Field(name="amount", **MONEY, help="Of the whole document, shared over its lines."),  # type: ignore[arg-type]
    ),
)
VOID = Entity(name="document_void", plural="document_voids", fields=REQUEST)
ANEW = Entity(
    name="document_rated_again",
    plural="documents_rated_again",
    fields=(
        *REQUEST,
        Field(
            name="preview",
            type=FieldType.BOOLEAN,
            default=False,
            help="True shows what it would come to; nothing is stored.",
        ),
    ),
)
PART = Entity(
    name="document_part",
    plural="document_parts",
    fields=(
        Field(name="line", type=FieldType.INTEGER, required=True, minimum=1),
        Field(name="amount", **MONEY),  # type: ignore[arg-type]
        Field(name="quantity", type=FieldType.DECIMAL, precision=38, scale=15),
        Field(name="service_start", type=FieldType.DATE),
        Field(name="service_end", type=FieldType.DATE),
    ),
)


def post_credit(uow: UnitOfWork, call: Call) -> Answer:
    """Make a credit note; answers with it."""
    body = command_body(call, CORRECTION)
    note = credit_invoice(
        uow,
        call.variables["id"],
        request_of(body),
        parts=[_credit_part(row) for row in _rows(body)],
        amount=cast("Decimal | None", body["amount"]),
    )
    return _settled(uow, note)


def post_void(uow: UnitOfWork, call: Call) -> Answer:
    """Credit all that is left of a document; answers with the credit note."""
    note = void_invoice(uow, call.variables["id"], request_of(command_body(call, VOID)))
    return _settled(uow, note)


def post_reissue(uow: UnitOfWork, call: Call) -> Answer:
    """Void a document and bill the same again; answers with the new document."""
    made = reissue_invoice(uow, call.variables["id"], request_of(command_body(call, VOID)))
    return _settled(uow, made)


def post_reissue_rated_again(desk: Desk, call: Call) -> Answer:
    """Void a document and bill it anew; answers with both documents and the difference."""
    body = command_body(call, ANEW)

    def act(uow: UnitOfWork) -> Reissued:
        store = desk.organisation.usage_store
        done = reissue_rated_again(uow, store, call.variables["id"], request_of(body))
        apply_credits(uow, [cast("int", done.credit_note["account_id"])])
        return done

    if body["preview"]:
        now, access = desk.organisation.clock(), call.caller.access
        with desk.organisation.database.rehearsal(now=now, access=access) as uow:
            return json_answer(act(uow))
    return in_transaction(lambda uow, _: json_answer(act(uow), 201))(desk, call)


def post_debit(uow: UnitOfWork, call: Call) -> Answer:
    """Make a debit note; answers with it."""
    body = command_body(call, CORRECTION)
    note = debit_invoice(
        uow,
        call.variables["id"],
        request_of(body),
        parts=[
            DebitPart(
                position=cast("int", row["line"]),
                amount=cast("Decimal | None", row["amount"]),
                quantity=cast("Decimal | None", row["quantity"]),
            )
            for row in _rows(body)
        ],
        amount=cast("Decimal | None", body["amount"]),
    )
    return _settled(uow, note)


def _settled(uow: UnitOfWork, note: Record) -> Answer:
    """The answer with a new document, after credit was laid to what is open."""
    apply_credits(uow, [cast("int", note["account_id"])])
    return json_answer(note, 201)


def request_of(body: Record) -> Request:
    """What every document by hand is asked for with."""
    return Request(
        reason=cast("str | None", body["reason"]),
        on=cast("date | None", body["date"]),
        finalize=body["finalize"] is not False,
        key=cast("str | None", body["request_key"]),
    )


def _credit_part(row: Record) -> CreditPart:
    start, end = row["service_start"], row["service_end"]
    asked = [row["amount"], row["quantity"], start]
    if (start is None) != (end is None) or sum(one is not None for one in asked) > 1:
        message = "give amount, quantity, or service_start with service_end, of a line"
        raise Refused(Problem("bad_choice", message, "lines"))
    return CreditPart(
        position=cast("int", row["line"]),
        amount=cast("Decimal | None", row["amount"]),
        quantity=cast("Decimal | None", row["quantity"]),
        start=cast("date | None", start),
        end=cast("date | None", end),
    )


def _rows(body: Record) -> list[Record]:
    given = body["lines"]
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
        raise Refused(Problem("not_a_list", "has to be a list of JSON objects", "lines"))
    rows, problems = [], []
    for row in given:
        values, wrong = check_values(PART, row)
        rows.append(values)
        problems += [
            Problem(one.code, one.message, f"lines.{one.field}", one.allowed) for one in wrong
        ]
    if problems:
        raise Refused(problems)
    return rows


def _endpoint(
    word: str, command: str, handler: Callable[[UnitOfWork, Call], Answer], shape: Entity, said: str
) -> Endpoint:
    return Endpoint(
        method="POST",
        path=f"/invoices/{{id}}/{word}",
        command=command,
        subject="invoice",
        handler=in_transaction(handler),
        summary=said,
        help="The document is named by its id. It stays as it is: what is made is a new one.",
        bodies=body_schema(shape),
        examples={JSON: {"reason": "The line was down for a week"}},
        answers={JSON: {"type": "object"}},
        status=201,
    )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/invoices/{id}/reissue-rated-again",
        command="void_invoices",
        subject="invoice",
        handler=post_reissue_rated_again,
        summary="Void an invoice and bill it anew with today's prices, service and usage",
        help="Answers with the credit note, the new invoice and the cycles with their difference. "
        "With preview nothing is stored.",
        bodies=body_schema(ANEW),
        examples={JSON: {"reason": "The price was wrong", "preview": True}},
        answers={JSON: {"type": "object"}},
        status=201,
        makes=("bill_run", "adjustment", "invoice", "invoice_line", "rated_charge"),
    ),
    _endpoint(
        "credit", "credit_invoices", post_credit, CORRECTION,
        "Credit an invoice: all of it, lines, amounts, quantities or periods",
    ),
    _endpoint(
        "reissue", "void_invoices", post_reissue, VOID,
        "Void an invoice and bill the same again, to who is billed today",
    ),
    _endpoint("void", "void_invoices", post_void, VOID, "Credit all that is left of an invoice"),
    _endpoint(
        "debit", "debit_invoices", post_debit, CORRECTION, "Charge more for what was billed"
    ),
)  # fmt: skip
