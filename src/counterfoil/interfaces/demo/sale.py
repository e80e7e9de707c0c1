"""The demo's new customer: from a lead to its first invoice, each step by its ordinary command.

Every step is a transaction of its own and looks first what is there, so that a sale that was
interrupted goes on where it stopped.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from counterfoil.bootstrap import Organisation
from counterfoil.business.documents.commands import write_whole
from counterfoil.business.orders.queries import list_tasks
from counterfoil.business.orders.tasks import complete_tasks
from counterfoil.business.sales.accepting import Acceptance, accept_by_link
from counterfoil.business.sales.conversion import convert_quotes
from counterfoil.business.sales.drafting import make_quotes
from counterfoil.business.sales.first_invoices import bill_orders
from counterfoil.business.sales.notation import Estimate, NewQuote, NewQuoteLine
from counterfoil.business.sales.queries import Quote, read_quotes
from counterfoil.business.sales.sending import read_document, send_quote
from counterfoil.interfaces.demo.parameters import DemoParameters, month_after
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

LEAD = "globex"
NUMBER = "Q-GLOBEX"
SITES = (
    ("Denver", "CO"), ("Chicago", "IL"), ("Boston", "MA"), ("Austin", "TX"), ("Seattle", "WA"),
    ("Atlanta", "GA"), ("Miami", "FL"), ("Portland", "OR"), ("Phoenix", "AZ"), ("Detroit", "MI"),
    ("Nashville", "TN"), ("Cleveland", "OH"),
)  # fmt: skip
ROOM_LINES = 28

_TERMS = "Prices are net of taxes.\nThree months' notice to the end of the term."


@dataclass(frozen=True, slots=True)
class Sale:
    """What was sold: counts of the whole, and ``new`` what this run added. ``document`` is the
    PDF of the quote."""

    facts: dict[str, int | Decimal]
    new: int
    document: Path


def sell(house: Organisation, parameters: DemoParameters, folder: Path) -> Sale:
    """Lead, quote of 40 lines over 12 sites, PDF, acceptance by link, order, tasks, subscriptions,
    first invoice."""
    day = month_after(parameters.first_month) + timedelta(days=1)
    database, now = house.database, parameters.now
    with database.transaction(now=now) as uow:
        new = _save_lead(uow) + _save_steps(uow)
        quote, made = _quoted(uow, house, day)
    document = folder / "quote.pdf"
    with database.transaction(now=now) as uow:
        new += made + _accepted(uow, house, quote)
        write_whole(document, read_document(uow, house.files, quote.id)[1])
    with database.transaction(now=now) as uow:
        (ordered,) = convert_quotes(uow, [quote.id])
        tasks = _provision(uow, ordered.order, day)
    runs = bill_orders(database, house.usage_store, [ordered], now=now, on=day)
    new += ordered.fresh + sum(run.invoices for run in runs)
    with database.transaction(now=now) as uow:
        (found,) = uow.query(_FOUND, order=ordered.order, day=day)
    facts: dict[str, int | Decimal] = {
        "sites": len(SITES),
        "quote lines": len(quote.lines),
        "tasks": tasks,
        "subscriptions": int(found["subscriptions"]),
        "invoice lines": int(found["lines"]),
        "USD invoiced": Decimal(found["total"]).quantize(Decimal("0.01")),
    }
    return Sale(facts, int(new), document)


_FOUND = """
SELECT (SELECT count(l.subscription_id) FROM order_line l WHERE l.order_id = o.id) AS subscriptions,
       count(n.id) AS lines, coalesce(sum(n.amount), 0) AS total
FROM "order" o
LEFT JOIN invoice i ON i.account_id = o.account_id AND i.invoice_date = :day
LEFT JOIN invoice_line n ON n.invoice_id = i.id
WHERE o.external_id = :order GROUP BY o.id
"""


def _save_lead(uow: UnitOfWork) -> int:
    if uow.find("lead", external_id=LEAD) is not None:
        return 0
    lead = uow.create(
        "lead",
        {
            "external_id": LEAD,
            "company": "Globex Corporation",
            "person": "Ada Hartmann",
            "email": "ada.hartmann@globex.example",
            "street": "1 Market Street",
            "city": "Denver",
            "region": "CO",
            "postal_code": "80202",
            "country": "US",
            "currency": "USD",
            "time_zone": "America/Denver",
            "source": "trade fair",
            "status": "qualified",
        },
    )
    sites: list[Record] = [
        {
            "external_id": f"{LEAD}-{number:02}",
            "lead_id": lead["id"],
            "name": f"Globex {city}",
            "city": city,
            "region": region,
            "country": "US",
        }
        for number, (city, region) in enumerate(SITES, start=1)
    ]
    uow.create_many("lead_site", sites)
    return 1


def _save_steps(uow: UnitOfWork) -> int:
    """What has to be done before a managed room is in service."""
    if uow.find("provisioning_step", external_id="room-test-call") is not None:
        return 0
    plan = uow.ids_by("rate_plan", "external_id", ["managed-room"])["managed-room"]
    step = {"external_id": "room-test-call", "rate_plan_id": plan, "position": 1}
    uow.create("provisioning_step", {**step, "kind": "checklist", "name": "Test call"})
    return 1


def _quoted(uow: UnitOfWork, house: Organisation, day: date) -> tuple[Quote, int]:
    there = uow.find("quote", number=NUMBER)
    if there is not None:
        return read_quotes(uow, [int(there["id"])])[0], 0
    asked = NewQuote(
        number=NUMBER,
        lead=LEAD,
        title="Rooms and conferencing for twelve offices",
        start_date=day,
        term_months=24,
        valid_until=uow.now.date() + timedelta(days=30),
        terms=_TERMS,
        lines=_lines(),
    )
    return read_quotes(uow, make_quotes(uow, house.usage_store, [asked]))[0], 1


def _lines() -> list[NewQuoteLine]:
    """Conferencing at each site, and rooms at all of them in turn."""
    names = [f"{LEAD}-{number:02}" for number in range(1, len(SITES) + 1)]
    calls = [
        NewQuoteLine(
            rate_plan="conferencing",
            site=name,
            discount_percent=Decimal(5),
            usage=(
                Estimate(meter="premier_toll_free", quantity=Decimal(36_000 + 6_000 * number)),
                Estimate(meter="standard_toll", quantity=Decimal(12_000)),
            ),
        )
        for number, name in enumerate(names)
    ]
    rooms = [
        NewQuoteLine(
            rate_plan="managed-room",
            site=names[number % len(names)],
            description=("Boardroom", "Huddle room", "Auditorium")[number // len(names)],
            discount_percent=Decimal(12) if number < len(names) else Decimal(0),
        )
        for number in range(ROOM_LINES)
    ]
    return [*calls, *rooms]


def _accepted(uow: UnitOfWork, house: Organisation, quote: Quote) -> int:
    """Send the quote and accept it by its link, unless that was done."""
    if quote.row["status"] in ("accepted", "converted"):
        return 0
    sent = send_quote(uow, house.files, quote.id)
    accept_by_link(uow, sent.token, Acceptance(name="Ada Hartmann", address="192.0.2.17"))
    return 1


def _provision(uow: UnitOfWork, order: str, day: date) -> int:
    """Do what is left to do for an order; how many tasks it has in all."""
    order_id = uow.ids_by("order", "external_id", [order])[order]
    left = [int(task["id"]) for task in list_tasks(uow, order_id=order_id)]
    if left:
        complete_tasks(uow, left, on=day)
    return len(list_tasks(uow, order_id=order_id, everything=True))
