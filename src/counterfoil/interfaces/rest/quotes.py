"""Quotes over HTTP: made, changed, revised, approved, sent, accepted, converted to orders."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from typing import cast

from counterfoil.business.sales.accepting import Acceptance, accept_by_hand
from counterfoil.business.sales.conversion import convert_quotes
from counterfoil.business.sales.drafting import change_quote, make_quotes, revise_quote
from counterfoil.business.sales.first_invoices import bill_orders
from counterfoil.business.sales.notation import LINE_FORM, QUOTE_FORM, read_quotes
from counterfoil.business.sales.queries import Quote, find_quotes
from counterfoil.business.sales.queries import read_quotes as read_stored
from counterfoil.business.sales.sending import (
    ask_approval,
    decide_discount,
    decline_quote,
    read_document,
    send_quote,
)
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.exchange import named_file
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import body_schema, command_body
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Desk, Endpoint, Handler
from counterfoil.interfaces.rest.idempotency import in_transaction, once, reading
from counterfoil.interfaces.rest.records import json_object, record_id
from counterfoil.interfaces.rest.schemas import Schema, create_schema
from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import boolean, document, text
from counterfoil.platform.metadata.fields import date as day
from counterfoil.platform.records.unit_of_work import UnitOfWork

ACCEPT_PATH = "/accept/"
"""Where the page of a link is, beside REST."""

REVISION = Entity(
    name="revision",
    plural="revisions",
    fields=(day("valid_until", help="Last day on which it can be accepted."),),
)
DECISION = Entity(
    name="discount_decision",
    plural="discount_decisions",
    fields=(
        boolean("approved", required=True, help="False rejects it: the quote is a draft again."),
        text("comment", max_length=1000),
    ),
)
DECLINED = Entity(
    name="declined_quote", plural="declined_quotes", fields=(text("reason", max_length=1000),)
)
ACCEPTED = Entity(
    name="acceptance",
    plural="acceptances",
    fields=(text("name", required=True, help="Who has accepted it at the customer."),),
)
CONVERSION = Entity(
    name="quote_conversion",
    plural="quote_conversions",
    fields=(
        document("quotes", required=True, help="Numbers, or number/version."),
        text("purchase_order", max_length=60, help="The customer's number of the orders."),
        boolean("bill", default=False, help="Also make the first invoice, of what is due."),
        day("billing_date", help="Of the first invoice; today where absent."),
    ),
)
NOTHING = Entity(name="no_values", plural="no_values", fields=())

EXAMPLE = {
    "account": "ACME",
    "start_date": "2026-12-01",
    "term_months": 24,
    "lines": [
        {"rate_plan": "rooms", "site": "HQ", "quantity": "2", "discount_percent": "10"},
        {"rate_plan": "minutes", "usage": [{"meter": "seconds", "quantity": "36000"}]},
    ],
}

WithDesk = Callable[[Desk, UnitOfWork, Call], Answer]


def quote_document(quote: Quote) -> dict[str, object]:
    """A quote with its lines as plain values; without what signs its link."""
    row = {name: value for name, value in quote.row.items() if name not in ("link_key", "snapshot")}
    return {**row, "party": quote.party, "lines": quote.lines}


def post_quotes(desk: Desk, uow: UnitOfWork, call: Call) -> Answer:
    """Make one quote or many, all or none; answers with them, priced."""
    body = json_object(call)
    rows = body["quotes"] if body.keys() == {"quotes"} else [body]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Refused(Problem("not_a_list", "has to be a list of JSON objects", "quotes"))
    ids = make_quotes(uow, desk.organisation.usage_store, read_quotes(rows))
    return json_answer({"quotes": [quote_document(one) for one in read_stored(uow, ids)]}, 201)


def post_change(desk: Desk, uow: UnitOfWork, call: Call) -> Answer:
    """Let a quote that was not sent offer something else."""
    (quote,) = read_quotes([json_object(call)])
    change_quote(uow, desk.organisation.usage_store, record_id(call), quote)
    return _answer(uow, record_id(call))


def post_revision(desk: Desk, uow: UnitOfWork, call: Call) -> Answer:
    """Draft the next version."""
    until = cast("date | None", command_body(call, REVISION)["valid_until"])
    store = desk.organisation.usage_store
    return _answer(uow, revise_quote(uow, store, record_id(call), valid_until=until), 201)


def post_question(uow: UnitOfWork, call: Call) -> Answer:
    """Ask for the discount to be approved."""
    command_body(call, NOTHING)
    ask_approval(uow, record_id(call))
    return _answer(uow, record_id(call))


def post_decision(uow: UnitOfWork, call: Call) -> Answer:
    """Approve or reject the discount."""
    body = command_body(call, DECISION)
    comment = cast("str | None", body["comment"])
    decide_discount(uow, record_id(call), approved=body["approved"] is True, comment=comment)
    return _answer(uow, record_id(call))


def post_sending(desk: Desk, uow: UnitOfWork, call: Call) -> Answer:
    """Send a quote; answers the path of its link, this once."""
    command_body(call, NOTHING)
    sent = send_quote(uow, desk.organisation.files, record_id(call))
    told = {name: value for name, value in asdict(sent).items() if name != "token"}
    return json_answer({**told, "path": ACCEPT_PATH + sent.token})


def post_decline(uow: UnitOfWork, call: Call) -> Answer:
    """Note that a quote was declined."""
    reason = cast("str | None", command_body(call, DECLINED)["reason"])
    decline_quote(uow, record_id(call), reason)
    return _answer(uow, record_id(call))


def post_acceptance(uow: UnitOfWork, call: Call) -> Answer:
    """Note that a quote was accepted on paper."""
    by = Acceptance(name=str(command_body(call, ACCEPTED)["name"]), address=call.client or None)
    return json_answer(quote_document(accept_by_hand(uow, record_id(call), by)))


def post_conversions(desk: Desk, call: Call) -> Answer:
    """Turn accepted quotes into orders, tasks and subscriptions; with ``bill`` bill what is due."""
    body = command_body(call, CONVERSION)
    names = body["quotes"]
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise Refused(Problem("wrong_type", "has to be a list of numbers of quotes", "quotes"))
    organisation = desk.organisation
    purchase_order = cast("str | None", body["purchase_order"])
    made = organisation.database.attempt(
        lambda uow: convert_quotes(uow, find_quotes(uow, names), purchase_order=purchase_order),
        now=organisation.clock(),
    )
    answer: dict[str, object] = {"converted": made}
    if body["bill"]:
        answer["bill_runs"] = bill_orders(
            organisation.database,
            organisation.usage_store,
            made,
            now=organisation.clock(),
            on=cast("date | None", body["billing_date"]),
            runner=organisation.runner,
        )
    return json_answer(answer, 201)


def get_overview(uow: UnitOfWork, call: Call) -> Answer:
    """A quote with its lines, estimates and counterfoils."""
    return _answer(uow, record_id(call))


def get_document(desk: Desk, uow: UnitOfWork, call: Call) -> Answer:
    """The quote as PDF."""
    name, content = read_document(uow, desk.organisation.files, record_id(call))
    return Answer(200, content, "application/pdf", named_file(name, "inline"))


def _answer(uow: UnitOfWork, quote_id: int, status: int = 200) -> Answer:
    (quote,) = read_stored(uow, [quote_id])
    return json_answer(quote_document(quote), status)


def _with_desk(act: WithDesk, way: Callable[..., Handler] = in_transaction) -> Handler:
    """The handler of what needs the desk beside its transaction."""
    return lambda desk, call: way(lambda uow, one: act(desk, uow, one))(desk, call)


_QUOTE: Schema = {"type": "object"}
_LINES: Schema = {
    **create_schema(QUOTE_FORM),
    "properties": {
        **cast("Schema", create_schema(QUOTE_FORM)["properties"]),
        "lines": {"type": "array", "items": create_schema(LINE_FORM)},
    },
}
_MANY: Schema = {
    "type": "object",
    "properties": {"quotes": {"type": "array", "items": _LINES}},
    "required": ["quotes"],
    "additionalProperties": False,
}


def _on_quote(
    path: str, command: str, handler: Handler, summary: str, shape: Entity, status: int = 200
) -> Endpoint:
    return Endpoint(
        method="POST",
        path=f"/quotes/{{id}}/{path}",
        command=command,
        subject="quote",
        handler=handler,
        summary=summary,
        bodies=body_schema(shape),
        answers={JSON: _QUOTE},
        status=status,
    )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/quotes/make",
        command="make_quotes",
        handler=_with_desk(post_quotes),
        summary="Make a quote or many, priced as the bills will be",
        help="A problem's line is the position of the line in its quote, from 1.",
        bodies={JSON: {"anyOf": [_LINES, _MANY]}},
        examples={JSON: EXAMPLE},
        answers={JSON: _QUOTE},
        status=201,
        makes=("quote", "quote_line", "quote_usage", "quote_charge"),
    ),
    Endpoint(
        method="POST",
        path="/quotes/{id}/change",
        command="make_quotes",
        subject="quote",
        handler=_with_desk(post_change),
        summary="Let a quote that was not sent offer something else",
        help="The body is that of a new quote; for whom it is and its number stay.",
        bodies={JSON: _LINES},
        answers={JSON: _QUOTE},
    ),
    _on_quote(
        "revise", "make_quotes", _with_desk(post_revision), "Draft the next version of a quote",
        REVISION, 201,
    ),
    _on_quote(
        "ask-approval", "make_quotes", in_transaction(post_question),
        "Ask for the discount of a quote to be approved", NOTHING,
    ),
    _on_quote(
        "approve", "approve_quotes", in_transaction(post_decision),
        "Approve or reject the discount of a quote", DECISION,
    ),
    _on_quote(
        "send", "send_quotes", _with_desk(post_sending),
        "Send a quote: fix its document and make its link", NOTHING,
    ),
    _on_quote(
        "decline", "send_quotes", in_transaction(post_decline), "Note that a quote was declined",
        DECLINED,
    ),
    _on_quote(
        "accept", "accept_quotes", in_transaction(post_acceptance),
        "Note that a quote was accepted on paper", ACCEPTED,
    ),
    Endpoint(
        method="POST",
        path="/quotes/convert",
        command="convert_quotes",
        handler=once(post_conversions),
        summary="Turn accepted quotes into orders, tasks, subscriptions and first invoices",
        help="With bill the first invoice is made of what is due. Again it adds nothing.",
        bodies=body_schema(CONVERSION),
        examples={JSON: {"quotes": ["Q-000001"], "bill": True}},
        answers={JSON: _QUOTE},
        status=201,
    ),
    Endpoint(
        method="GET",
        path="/quotes/{id}/overview",
        command="see_quotes",
        subject="quote",
        handler=reading(get_overview),
        summary="A quote with its lines, estimates and counterfoils",
        answers={JSON: _QUOTE},
    ),
    Endpoint(
        method="GET",
        path="/quotes/{id}/document.pdf",
        command="see_quotes",
        subject="quote",
        handler=_with_desk(get_document, reading),
        summary="A quote as PDF: as it was sent, or as it is now",
        answers={"application/pdf": {"type": "string"}},
    ),
)  # fmt: skip
