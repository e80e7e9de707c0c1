"""Payments and what follows from them: allocations, refunds, write-offs, balances, ageing."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import cast

from counterfoil.business.receivables.commands import (
    Chosen,
    Credit,
    NewPayment,
    allocate_credit,
    apply_credits,
    record_payment,
    refund_credit,
    unallocate_credit,
    write_off_document,
)
from counterfoil.business.receivables.entities import METHODS
from counterfoil.business.receivables.positions import EVER
from counterfoil.business.receivables.queries import (
    account_balance,
    account_statement,
    read_ageing,
)
from counterfoil.business.receivables.reversing import reverse_settlement
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import body_schema, checked, command_body
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Endpoint, Parameter, day_asked
from counterfoil.interfaces.rest.idempotency import in_transaction, reading
from counterfoil.interfaces.rest.records import record_id
from counterfoil.platform.metadata import Entity, Record
from counterfoil.platform.metadata.fields import boolean, choice, decimal, document, text
from counterfoil.platform.metadata.fields import date as day_field
from counterfoil.platform.records.unit_of_work import UnitOfWork

KEY = text(
    "request_key",
    max_length=200,
    help="Your name of this request; asked again with it, nothing is added.",
)
ALLOCATIONS = document(
    "allocations",
    help="Which documents to pay, each an object: `invoice` (number or id) and `amount`, all that "
    "is open where absent. Without it the oldest due first.",
)
PAYMENT = Entity(
    name="new_payment",
    plural="new_payments",
    fields=(
        text("account", required=True, help="External id of who paid."),
        decimal("amount", 20, 4, required=True),
        text("currency", max_length=3, help="Has to be that of the account."),
        day_field("received_on", help="Today where absent."),
        choice("method", METHODS, default="transfer"),
        text("reference", help="What the bank or the payer calls it."),
        ALLOCATIONS,
        boolean("allocate", default=True, help="False leaves it to the account's credit."),
        KEY,
    ),
)
ALLOCATION = Entity(name="new_allocation", plural="new_allocations", fields=(ALLOCATIONS,))
RELEASE = Entity(
    name="release",
    plural="releases",
    fields=(text("invoice", help="Number or id; all documents it pays where absent."),),
)
REFUND = Entity(
    name="new_refund",
    plural="new_refunds",
    fields=(
        decimal("amount", 20, 4, help="All that pays nothing where absent."),
        choice("method", METHODS, default="transfer"),
        text("reference"),
        text("reason", max_length=500),
        KEY,
    ),
)
WRITE_OFF = Entity(
    name="new_write_off",
    plural="new_write_offs",
    fields=(
        decimal("amount", 20, 4, help="All that is open where absent."),
        text("reason", required=True, max_length=500),
        KEY,
    ),
)
CHOSEN = Entity(
    name="chosen_document",
    plural="chosen_documents",
    fields=(text("invoice", required=True), decimal("amount", 20, 4)),
)
REVERSAL = Entity(
    name="new_reversal",
    plural="new_reversals",
    fields=(text("reason", required=True, max_length=500),),
)
APPLY = Entity(
    name="credit_application",
    plural="credit_applications",
    fields=(text("account", help="External id; all accounts where absent."),),
)

Action = Callable[[UnitOfWork, Call], Answer]


def post_payment(uow: UnitOfWork, call: Call) -> Answer:
    """Record a payment and allocate it."""
    body = command_body(call, PAYMENT)
    payment = NewPayment(
        account=str(body["account"]),
        amount=cast("Decimal", body["amount"]),
        received_on=cast("date | None", body["received_on"]),
        currency=_text(body, "currency"),
        method=str(body["method"]),
        reference=_text(body, "reference"),
        key=_text(body, "request_key"),
    )
    chosen = _chosen(body)
    made = record_payment(uow, payment, chosen=chosen, allocate=body["allocate"] is not False)
    return json_answer(made, 201)


def post_write_off(uow: UnitOfWork, call: Call) -> Answer:
    """Give up what is open of a document."""
    body = command_body(call, WRITE_OFF)
    made = write_off_document(
        uow,
        record_id(call),
        str(body["reason"]),
        cast("Decimal | None", body["amount"]),
        key=_text(body, "request_key"),
    )
    return json_answer(made, 201)


def post_application(uow: UnitOfWork, call: Call) -> Answer:
    """Let credit balances pay open documents."""
    account = command_body(call, APPLY)["account"]
    if account is None:
        return json_answer({"allocations": apply_credits(uow)})
    ids = uow.ids_by("account", "external_id", [account])
    if account not in ids:
        message = f"there is no account {account!r}"
        raise Refused(Problem("unknown_account", message, "account"), 404)
    return json_answer({"allocations": apply_credits(uow, [ids[account]])})


def get_balance(uow: UnitOfWork, call: Call) -> Answer:
    """What an account owes, and of what."""
    as_of = day_asked(call, "as_of") or EVER
    return json_answer(account_balance(uow, call.variables["external_id"], as_of=as_of))


def get_statement(uow: UnitOfWork, call: Call) -> Answer:
    """The statement of an account for a period."""
    start, end = day_asked(call, "start"), day_asked(call, "end")
    if start is None or end is None:
        raise Refused(Problem("required", "give start and end", "start"))
    return json_answer(account_statement(uow, call.variables["external_id"], start, end))


def get_ageing(uow: UnitOfWork, call: Call) -> Answer:
    """What all accounts owe as of a day."""
    return json_answer(read_ageing(uow, day_asked(call, "as_of") or uow.now.date()))


def _of(subject: str, act: Callable[[UnitOfWork, Call, Credit], object]) -> Action:
    """An endpoint of the payment, or of the credit note, in the path."""

    def handle(uow: UnitOfWork, call: Call) -> Answer:
        one = record_id(call)
        credit = Credit(payment=one) if subject == "payment" else Credit(credit_note=one)
        return json_answer(act(uow, call, credit), 201)

    return handle


def _allocate(uow: UnitOfWork, call: Call, credit: Credit) -> object:
    made = allocate_credit(uow, credit, _chosen(command_body(call, ALLOCATION)))
    return {"allocations": made}


def _unallocate(uow: UnitOfWork, call: Call, credit: Credit) -> object:
    return {"undone": unallocate_credit(uow, credit, _text(command_body(call, RELEASE), "invoice"))}


def _refund(uow: UnitOfWork, call: Call, credit: Credit) -> object:
    body = command_body(call, REFUND)
    return refund_credit(
        uow,
        credit,
        cast("Decimal | None", body["amount"]),
        method=str(body["method"]),
        reference=_text(body, "reference"),
        reason=_text(body, "reason"),
        key=_text(body, "request_key"),
    )


def _reverse(kind: str) -> Action:
    """An endpoint that takes back the payment, refund or write-off in the path."""

    def handle(uow: UnitOfWork, call: Call) -> Answer:
        body = command_body(call, REVERSAL)
        return json_answer(reverse_settlement(uow, kind, record_id(call), str(body["reason"])), 201)

    return handle


def _text(body: Record, name: str) -> str | None:
    return cast("str | None", body[name])


def _chosen(body: Record) -> list[Chosen]:
    given = body["allocations"]
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
        raise Refused(Problem("not_a_list", "has to be a list of JSON objects", "allocations"))
    rows = [checked(row, CHOSEN) for row in given]
    return [Chosen(str(row["invoice"]), cast("Decimal | None", row["amount"])) for row in rows]


def _command(
    path: str,
    command: str,
    action: Action,
    shape: Entity,
    said: str,
    subject: str = "",
    **more: str,
) -> Endpoint:
    return Endpoint(
        method="POST",
        path=path,
        command=command,
        subject=subject,
        handler=in_transaction(action),
        summary=said,
        help=more.get("help", ""),
        bodies=body_schema(shape),
        answers={JSON: {"type": "object"}},
        status=201 if shape is not APPLY else 200,
        makes=tuple(more.get("makes", "").split()),
    )


def _reading(path: str, action: Action, said: str, subject: str, *names: str) -> Endpoint:
    parameters = tuple(
        Parameter(name=name, format="date", help=DAYS[name], required=name != "as_of")
        for name in names
    )
    return Endpoint(
        method="GET",
        path=path,
        command="see_receivables",
        subject=subject,
        handler=reading(action),
        summary=said,
        parameters=parameters,
        answers={JSON: {"type": "object"}},
    )


DAYS = {
    "as_of": "As of the end of this day.",
    "start": "First day of the period.",
    "end": "First day after the period.",
}

ENDPOINTS = (
    _command(
        "/payments", "record_payments", post_payment, PAYMENT, "Record a payment and allocate it",
        makes="payment allocation",
    ),
    *(
        endpoint
        for subject, path in (("payment", "/payments"), ("invoice", "/invoices"))
        for endpoint in (
            _command(
                f"{path}/{{id}}/allocate", "allocate_payments", _of(subject, _allocate),
                ALLOCATION, "Allocate what is left of a payment or credit note", subject,
            ),
            _command(
                f"{path}/{{id}}/unallocate", "allocate_payments", _of(subject, _unallocate),
                RELEASE, "Undo what a payment or credit note pays", subject,
            ),
            _command(
                f"{path}/{{id}}/refund", "refund_payments", _of(subject, _refund), REFUND,
                "Pay back what is left of a payment or credit note", subject, makes="refund",
            ),
        )
    ),
    *(
        _command(
            f"/{path}/{{id}}/reverse", "reverse_settlements", _reverse(kind), REVERSAL,
            f"Take back a {kind.replace('_', '-')} that does not stand", kind,
            makes="settlement_reversal allocation" if kind == "payment" else "settlement_reversal",
        )
        for kind, path in (
            ("payment", "payments"), ("refund", "refunds"), ("write_off", "write-offs")
        )
    ),
    _command(
        "/invoices/{id}/write-off", "write_off_invoices", post_write_off, WRITE_OFF,
        "Give up what is open of an invoice", "invoice", makes="write_off",
    ),
    _command(
        "/credits/apply", "allocate_payments", post_application, APPLY,
        "Let credit balances pay open documents",
        help="Credit notes pay what they correct, then everything the oldest due first. Bill runs "
        "do it by themselves.",
    ),
    _reading(
        "/accounts/{external_id}/balance", get_balance, "What an account owes", "account", "as_of"
    ),
    _reading(
        "/accounts/{external_id}/statement", get_statement, "The statement of an account",
        "account", "start", "end",
    ),
    _reading("/ageing", get_ageing, "What accounts owe, by how long it is overdue", "", "as_of"),
)  # fmt: skip
