"""Accepted quotes become orders, provisioning tasks and subscriptions, in one call."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import cast

from counterfoil.business.orders.commands import approve_orders, release_orders
from counterfoil.business.orders.placing import place_orders
from counterfoil.business.sales.agreements import agree_discounts, order_of, subscription_of
from counterfoil.business.sales.leads import Conversion, convert_leads
from counterfoil.business.sales.queries import Quote, read_quotes
from counterfoil.business.subscriptions.invoicing import BilledAccount, who_are_billed
from counterfoil.core.periods.zones import local_date
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Ordered:
    """What a quote became: its order with status and lines by status, the subscriptions that run,
    and the open tasks. ``billed_account`` is the id of who is invoiced, ``day`` today there."""

    quote: str
    account: str
    order: str
    status: str
    lines: dict[str, int]
    subscriptions: int
    tasks: int
    billed_account: int
    day: date
    fresh: bool


_HELD = "SELECT id, number, version, status FROM quote WHERE id = ANY(:ids) ORDER BY id FOR UPDATE"


def convert_quotes(
    uow: UnitOfWork, ids: Sequence[int], *, purchase_order: str | None = None
) -> list[Ordered]:
    """Make orders of accepted quotes, release them, and begin what needs no provisioning.

    Leads become accounts first. Discounts and agreed prices go along, opportunities are won. The
    acceptance approves the order. What was converted before is answered as it stands. The number
    of statements does not grow with lines. Refuses (409) quotes that are not accepted.
    """
    held = {row["id"]: row for row in uow.query(_HELD, ids=list(ids))}
    problems = [
        Problem(
            "not_accepted",
            f"quote {row['number']}/{row['version']} is {row['status'].replace('_', ' ')}; "
            "only an accepted one becomes an order",
            "status",
        )
        for row in held.values()
        if row["status"] not in ("accepted", "converted")
    ]
    if problems:
        raise Refused(problems, 409)
    quotes = read_quotes(uow, ids)
    todo = [quote for quote in quotes if quote.row["status"] == "accepted"]
    if todo:
        _convert(uow, todo, purchase_order)
        quotes = read_quotes(uow, ids)
    fresh = {quote.id for quote in todo}
    return _told(uow, quotes, fresh)


def _convert(uow: UnitOfWork, quotes: Sequence[Quote], purchase_order: str | None) -> None:
    accounts = _accounts(uow, quotes)
    ids = uow.ids_by("account", "external_id", set(accounts.values()))
    billed = who_are_billed(uow, accounts.values())
    for quote in quotes:
        _refuse_other_currency(quote, billed[accounts[quote.id]])
    agree_discounts(uow, [(quote, ids[accounts[quote.id]]) for quote in quotes])
    orders = [
        order_of(
            quote,
            accounts[quote.id],
            local_date(quote.row["accepted_at"], billed[accounts[quote.id]].time_zone),
            purchase_order,
        )
        for quote in quotes
    ]
    placed = place_orders(uow, orders)
    comment = "the customer has accepted the quote"
    waiting = [one.id for one in placed if one.status == "submitted"]
    if waiting:
        approve_orders(uow, waiting, comment=comment, quoted=True)
    release_orders(uow, [one.id for one in placed])
    uow.update_many(
        "quote",
        [
            (quote.id, {"status": "converted", "order_id": one.id, "converted_at": uow.now})
            for quote, one in zip(quotes, placed, strict=True)
        ],
        by_command=True,
    )
    uow.update_many(
        "quote_line",
        [
            (line["id"], {"subscription_external_id": subscription_of(quote, line)})
            for quote in quotes
            for line in quote.lines
        ],
        by_command=True,
    )
    _win(uow, quotes)


def _accounts(uow: UnitOfWork, quotes: Sequence[Quote]) -> dict[int, str]:
    """The accounts of quotes (ids); leads that are none yet become one."""
    leads = sorted({str(quote.lead) for quote in quotes if quote.account is None})
    made = convert_leads(uow, [Conversion(lead=lead) for lead in leads]) if leads else []
    by_lead = {one.lead: one.account for one in made}
    return {
        quote.id: quote.account if quote.account is not None else by_lead[str(quote.lead)]
        for quote in quotes
    }


def _refuse_other_currency(quote: Quote, billed: BilledAccount) -> None:
    if billed.currency != quote.row["currency"]:
        message = f"{billed.external_id} is billed in {billed.currency}, quote {quote.name} is not"
        raise Refused(Problem("other_currency", message, "currency", (billed.currency,)))


_OPPORTUNITIES = """
SELECT o.id, sum(q.contract_value) AS amount, min(q.currency) AS currency
FROM quote q JOIN opportunity o ON o.id = q.opportunity_id OR o.lead_id = q.lead_id
WHERE q.id = ANY(:ids) AND o.stage <> 'won' AND o.stage <> 'lost' GROUP BY o.id ORDER BY o.id
"""


def _win(uow: UnitOfWork, quotes: Sequence[Quote]) -> None:
    """The opportunities of these quotes are won, with what was agreed."""
    rows = uow.query(_OPPORTUNITIES, ids=[quote.id for quote in quotes])
    changes: list[tuple[int, Record]] = [
        (
            row["id"],
            {
                "stage": "won",
                "amount": row["amount"],
                "currency": row["currency"],
                "close_date": uow.now.date(),
            },
        )
        for row in rows
    ]
    uow.update_many("opportunity", changes)


_ORDERS = """
SELECT o.id, o.external_id, o.status, l.status AS of_line, count(*) AS lines,
       count(l.subscription_id) AS subscriptions
FROM "order" o JOIN order_line l ON l.order_id = o.id
WHERE o.id = ANY(:ids) GROUP BY o.id, l.status ORDER BY o.id, l.status
"""

_TASKS = """
SELECT order_id, count(*) AS tasks FROM provisioning_task
WHERE order_id = ANY(:ids) AND state IN ('waiting', 'open', 'failed') GROUP BY order_id
"""


def _told(uow: UnitOfWork, quotes: Sequence[Quote], fresh: set[int]) -> list[Ordered]:
    ids = [quote.row["order_id"] for quote in quotes]
    rows: dict[int, list[Record]] = {}
    for row in uow.query(_ORDERS, ids=ids):
        rows.setdefault(row["id"], []).append(row)
    tasks = {row["order_id"]: int(row["tasks"]) for row in uow.query(_TASKS, ids=ids)}
    billed = who_are_billed(uow, [str(quote.account) for quote in quotes])
    return [
        Ordered(
            quote=quote.name,
            account=str(quote.account),
            order=str(of_order[0]["external_id"]),
            status=str(of_order[0]["status"]),
            lines={str(row["of_line"]): int(row["lines"]) for row in of_order},
            subscriptions=sum(int(row["subscriptions"]) for row in of_order),
            tasks=tasks.get(cast("int", quote.row["order_id"]), 0),
            billed_account=billed[str(quote.account)].id,
            day=local_date(uow.now, billed[str(quote.account)].time_zone),
            fresh=quote.id in fresh,
        )
        for quote in quotes
        for of_order in [rows[quote.row["order_id"]]]
    ]
