"""What a draft of a price book would have changed in past periods."""

from counterfoil.business.billing.simulation import simulate
from counterfoil.business.billing.window import window_between
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.business.subscriptions.invoicing import billed_account
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Desk, Endpoint, Parameter
from counterfoil.interfaces.rest.price_books import EXAMPLE, YAML, price_book_text

MOST_ACCOUNTS = 5_000
"""Billed accounts of one request; the command line has no such bound."""

PARAMETERS = (
    Parameter(name="from", required=True, help="First month (2026-01) or day (2026-01-01)."),
    Parameter(name="to", required=True, help="Last month or day, included."),
    Parameter(name="account", help="Only this account (external id); repeatable."),
    Parameter(name="template", help="Only accounts that inherit this pricing template."),
)


def post_simulation(desk: Desk, call: Call) -> Answer:
    """Rate past cycles with the present prices and with the draft in the body."""
    draft, problems = parse_price_book(price_book_text(call), "price book")
    if problems:
        raise Refused(problems)
    window = window_between(required(call, "from"), required(call, "to"))
    organisation, now = desk.organisation, desk.organisation.clock()
    names = [value for name, value in call.query if name == "account"]
    accounts = None
    if names:
        with organisation.database.transaction(now=now) as uow:
            accounts = sorted({billed_account(uow, name) for name in names})
    report = simulate(
        organisation.database,
        organisation.usage_store,
        draft,
        window,
        now=now,
        accounts=accounts,
        template=dict(call.query).get("template"),
        most_accounts=MOST_ACCOUNTS,
    )
    return json_answer(report.document())


def required(call: Call, name: str) -> str:
    """A query parameter; refuses (422) to do without it."""
    value = dict(call.query).get(name)
    if not value:
        raise Refused(Problem("required", "is required", name))
    return value


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/simulations",
        command="simulate",
        handler=post_simulation,
        summary="What a draft of prices would have changed",
        help="Rates the cycles that begin in the window twice: with the present prices, and with "
        "the price book in the body laid over them. Nothing is stored.",
        parameters=PARAMETERS,
        bodies={YAML[0]: {"type": "string"}, JSON: {"type": "object"}},
        examples={YAML[0]: EXAMPLE},
        answers={JSON: {"type": "object"}},
    ),
)
