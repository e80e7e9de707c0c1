"""Saving a price book, and explaining which price holds for an account on a day."""

from datetime import date
from typing import cast

from counterfoil.business.billing.price_explanation import PriceQuestion, explain_price
from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import decode_json, json_answer
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Endpoint, Parameter
from counterfoil.interfaces.rest.idempotency import in_transaction, reading
from counterfoil.platform.metadata import Field, FieldType
from counterfoil.platform.metadata.validation import read_value
from counterfoil.platform.records.unit_of_work import UnitOfWork

YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/plain")

EXAMPLE = """products: [{id: conferencing, name: Audio conferencing}]
rate_plans:
  - id: conferencing-standard
    product: conferencing
    name: Conferencing
    charges:
      - {id: room, name: Managed room, kind: recurring, timing: in_advance, period: month,
         unit: room, prices: [{currency: EUR, model: per_unit, amount: 120}]}
"""


def post_price_book(uow: UnitOfWork, call: Call) -> Answer:
    """Save the price book in the body; answers how many records of each kind were saved."""
    book, problems = parse_price_book(price_book_text(call), "price book")
    if problems:
        raise Refused(problems)
    return json_answer({"saved": save_price_book(uow, book)})


def price_book_text(call: Call) -> str:
    """The body as YAML text; refuses (415) other media types, (400) what is not UTF-8."""
    is_json = call.media_type == JSON or call.media_type.endswith("+json")
    if not is_json and call.media_type not in YAML:
        message = f"the body is {call.media_type}"
        allowed = (JSON, *YAML)
        problem = Problem("unsupported_media_type", message, "Content-Type", allowed)
        raise Refused(problem, status=415)
    if is_json:
        decode_json(call.body)
    try:
        text = call.body.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8 at byte {error.start}"
        raise Refused(Problem("bad_encoding", message), status=400) from None
    # JSON is YAML but for tabs between its parts; within its strings there are none.
    return text.replace("\t", " ") if is_json else text


DAY = Field(name="date", type=FieldType.DATE)
ASKED = (
    Parameter(name="account", required=True, help="External id of the account."),
    Parameter(name="charge", required=True, help="External id of the charge."),
    Parameter(name="date", format="date", help="Local to whoever bills the account; today."),
    Parameter(name="site", help="External id of a site."),
    Parameter(name="contact", help="External id of a contact."),
    Parameter(name="contract", help="External id of a contract."),
    Parameter(
        name="subscription",
        help="External id of a subscription of the account; its site, contact and contract count.",
    ),
    Parameter(name="currency", help="ISO 4217 code; that of whoever bills the account."),
)


def get_price_explanation(uow: UnitOfWork, call: Call) -> Answer:
    """Which price a charge has for an account on a day, and what every layer says."""
    given = dict(call.query)
    names = tuple(parameter.name for parameter in ASKED)
    problems = [
        Problem("unknown_parameter", "there is no such parameter", name, names)
        for name in given
        if name not in names
    ]
    problems += [
        Problem("missing", "is missing", parameter.name)
        for parameter in ASKED
        if parameter.required and not given.get(parameter.name)
    ]
    day = uow.now.date()
    if given.get("date"):
        try:
            day = cast("date", read_value(DAY, given["date"]))
        except ValueError as error:
            problems.append(Problem("wrong_value", str(error), "date"))
    if problems:
        raise Refused(problems)
    chosen = {name: given[name] for name in names if name != "date" and given.get(name)}
    return json_answer(explain_price(uow, PriceQuestion(day=day, **chosen)))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/price-explanations",
        command="explain_prices",
        handler=reading(get_price_explanation),
        summary="Which price holds on a day, and why",
        help="Every layer that is asked, most specific first, with its prices, which one won and "
        "why, and the tiers in force; by the rules that rate.",
        parameters=ASKED,
        answers={JSON: {"type": "object"}},
    ),
    Endpoint(
        method="POST",
        path="/price-books",
        command="load_price_book",
        handler=in_transaction(post_price_book),
        summary="Save a price book",
        help="Creates or changes, by external id, everything the document names; refused as a "
        "whole, with the lines, when anything is wrong with it.",
        bodies={YAML[0]: {"type": "string"}, JSON: {"type": "object"}},
        examples={YAML[0]: EXAMPLE},
        answers={
            JSON: {
                "type": "object",
                "properties": {
                    "saved": {"type": "object", "additionalProperties": {"type": "integer"}}
                },
            }
        },
    ),
)
