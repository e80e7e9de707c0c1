"""A small organisation with rooms by the month and minutes by the second."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from tests.furnishing import Furnishings

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing.commands import BillRunSummary, run_bills
from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.business.subscriptions.commands import Activation, activate_subscriptions
from counterfoil.business.usage.store import EVENT_SCHEMA, save_events

NOW = datetime(2024, 6, 1, tzinfo=UTC)

PRICE_BOOK = """
products: [{id: conferencing, name: Conferencing}]
meters: [{id: seconds, name: Connection time, unit: second}]
rate_plans:
  - id: rooms
    product: conferencing
    name: Rooms
    charges:
      - id: room
        name: Managed room
        kind: recurring
        timing: in_advance
        unit: room
        prices: [{currency: USD, model: per_unit, amount: 249.95}]
  - id: minutes
    product: conferencing
    name: Minutes
    charges:
      - id: minute
        name: Toll-free minutes
        kind: usage
        meter: seconds
        event_increment: 60
        unit: minute
        unit_size: 60
        prices:
          - currency: USD
            model: graduated
            included: 2
            tiers: [{up_to: 10, amount: 0.22}, {amount: 0.2}]
"""


class Company:
    """Shorthand for what tests of this room do again and again."""

    def __init__(self, organisation: Organisation) -> None:
        self.organisation = organisation
        self.database = organisation.database
        self.store = organisation.usage_store
        self.now = NOW

    def open_account(self, external_id: str, **profile: object) -> int:
        """An account with a billing profile, in US dollars and UTC unless told."""
        with self.database.transaction(now=self.now) as uow:
            account = uow.create("account", {"external_id": external_id, "name": external_id})
            uow.create(
                "billing_profile", {"account_id": account["id"], "currency": "USD", **profile}
            )
            return int(account["id"])

    def load_prices(self, text: str = PRICE_BOOK) -> None:
        book, problems = parse_price_book(text, "prices.yaml")
        assert problems == []
        with self.database.transaction(now=self.now) as uow:
            save_price_book(uow, book)

    def subscribe(
        self, external_id: str, account: str, plan: str, start: date, **more: object
    ) -> int:
        activation = Activation(
            external_id=external_id, account=account, rate_plan=plan, start_date=start, **more
        )
        with self.database.transaction(now=self.now) as uow:
            return activate_subscriptions(uow, [activation])[0]

    def use(
        self, subscription_id: int, *events: tuple[str, datetime, str], attributes: str = "{}"
    ) -> None:
        """Store ready usage events (id, UTC time, quantity) of the meter ``seconds``, which all
        have the same attributes (JSON)."""
        with self.database.transaction(now=self.now) as uow:
            collector = uow.query("SELECT id FROM collector ORDER BY id LIMIT 1")
            collector_id = collector[0]["id"] if collector else _collector(uow)
            meter = uow.ids_by("meter", "external_id", ["seconds"])["seconds"]
            key = f"{subscription_id}-{'-'.join(event[0] for event in events)}"
            batch = uow.create(
                "usage_batch",
                {"batch_key": key, "collector_id": collector_id, "file_name": "calls.csv"},
            )
            rows = [
                {
                    "source": "bridge",
                    "event_id": name,
                    "time": time.replace(tzinfo=None),
                    "subscription_id": subscription_id,
                    "meter_id": meter,
                    "quantity": Decimal(quantity),
                    "batch_id": batch["id"],
                    "line": line,
                    "attributes": attributes,
                }
                for line, (name, time, quantity) in enumerate(events, start=1)
            ]
            save_events(uow, self.store, pa.Table.from_pylist(rows, EVENT_SCHEMA), batch["id"])

    def bill(self, day: date, **more: object) -> BillRunSummary:
        return run_bills(self.database, self.store, day, now=self.now, **more)

    def lines(self) -> list[tuple[object, ...]]:
        """Every line of every invoice: number, description, service, quantity, amount."""
        with self.database.transaction(now=self.now) as uow:
            rows = uow.query(
                "SELECT i.number, l.description, l.service_start, l.service_end, l.quantity, "
                "l.amount FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id "
                "ORDER BY i.id, l.position"
            )
        return [tuple(row.values()) for row in rows]

    def counts(self) -> Sequence[int]:
        """How many invoices, rated charges and lines there are."""
        with self.database.transaction(now=self.now) as uow:
            return [
                uow.query(f"SELECT count(*) AS n FROM {name}")[0]["n"]
                for name in ("invoice", "rated_charge", "invoice_line")
            ]


def _collector(uow: object) -> int:
    return uow.create(  # type: ignore[attr-defined]
        "collector",
        {
            "external_id": "bridge",
            "name": "Bridge",
            "definition": {"format": "cloudevents"},
        },
    )["id"]


def priced(organisation: Organisation) -> None:
    Company(organisation).load_prices()


@pytest.fixture
def company(furnishings: Furnishings) -> Iterator[Company]:
    with furnishings.copy(priced) as organisation:
        yield Company(organisation)


Opened = Callable[[str], int]
