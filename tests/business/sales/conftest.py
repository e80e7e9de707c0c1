"""A small organisation that sells rooms, minutes and more, to a customer and to a lead."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from tests.business.billing.conftest import Company

from counterfoil.bootstrap import Organisation, Settings, scratch_organisation
from counterfoil.business.sales.accepting import Acceptance, accept_by_hand
from counterfoil.business.sales.conversion import convert_quotes
from counterfoil.business.sales.drafting import make_quotes
from counterfoil.business.sales.entities import QUOTE, QUOTE_CHARGE, QUOTE_LINE
from counterfoil.business.sales.notation import Estimate, NewQuote, NewQuoteLine
from counterfoil.business.sales.pricing import expected_events
from counterfoil.business.sales.queries import Quote, read_quotes
from counterfoil.business.sales.sending import Sent, send_quote
from counterfoil.business.usage.store import EVENT_SCHEMA, save_events
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
START, APRIL, MAY = date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)

PRICES = """
products: [{id: conferencing, name: Conferencing}]
meters:
  - {id: seconds, name: Connection time, unit: second}
  - {id: messages, name: Messages, unit: message}
  - {id: gigabytes, name: Recordings, unit: gigabyte}
rate_plans:
  - id: rooms
    product: conferencing
    name: Rooms
    charges:
      - {id: room, name: Managed room, kind: recurring, timing: in_advance, unit: room,
         prices: [{currency: USD, model: per_unit, amount: 249.95}]}
      - {id: setup, name: Installation, kind: one_time, unit: room,
         prices: [{currency: USD, model: flat, amount: 99.00}]}
  - id: support
    product: conferencing
    name: Support
    charges:
      - {id: help, name: Help desk, kind: recurring, timing: in_arrears, unit: desk,
         prices: [{currency: USD, model: flat, amount: 33.33}]}
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
          - {currency: USD, model: graduated, included: 2,
             tiers: [{up_to: 10, amount: 0.22}, {amount: 0.2}]}
  - id: texts
    product: conferencing
    name: Texts
    charges:
      - id: text
        name: Texts
        kind: usage
        meter: messages
        unit: message
        prices:
          - {currency: USD, model: volume, minimum_amount: 25,
             tiers: [{up_to: 1000, amount: 0.013}, {amount: 0.011}]}
  - id: recordings
    product: conferencing
    name: Recordings
    charges:
      - id: gigabyte
        name: Recordings kept
        kind: usage
        meter: gigabytes
        unit: gigabyte
        prices: [{currency: USD, model: per_unit, included: 5, amount: 0.333}]
"""


class Shop(Company):
    """Shorthand for what tests of this room do."""

    @contextmanager
    def work(self, actor: str = "admin") -> Iterator[UnitOfWork]:
        with self.database.transaction(now=NOW, actor=actor) as uow:
            yield uow

    def quote(self, *lines: NewQuoteLine, **more: Any) -> Quote:
        """A quote for ACME from March 2026 on, as it was stored."""
        actor = more.pop("actor", "admin")
        asked = NewQuote(**{"account": "ACME", "start_date": START, "lines": lines, **more})
        with self.work(actor) as uow:
            return read_quotes(uow, make_quotes(uow, self.store, [asked]))[0]

    def send(self, quote: Quote, actor: str = "admin") -> Sent:
        with self.work(actor) as uow:
            return send_quote(uow, self.organisation.files, quote.id)

    def sell(self, *lines: NewQuoteLine, **more: Any) -> Quote:
        """A quote that was sent, accepted by hand and converted, as it was made."""
        quote = self.quote(*lines, **more)
        self.send(quote)
        with self.work() as uow:
            accept_by_hand(uow, quote.id, Acceptance(name="Ada Hartmann"))
            convert_quotes(uow, [quote.id])
        return quote

    def read(self, quote: Quote) -> Quote:
        with self.work() as uow:
            return read_quotes(uow, [quote.id])[0]

    def use_as_expected(self, quote: Quote, months: int = 1) -> None:
        """Import exactly the usage that the lines of a converted quote expect."""
        with self.work() as uow:
            names = [line["subscription_external_id"] for line in quote.lines]
            ids = uow.ids_by("subscription", "external_id", names)
            collector = {"external_id": "q", "name": "Q", "definition": {"format": "cloudevents"}}
            made = uow.find("collector", external_id="q") or uow.create("collector", collector)
            batch = uow.create(
                "usage_batch",
                {
                    "batch_key": f"q{months}",
                    "collector_id": made["id"],
                    "file_name": "calls.csv",
                },
            )
            rows = [
                {**row, "batch_id": batch["id"]}
                for line, name in zip(quote.lines, names, strict=True)
                for row in expected_events({**line, "term_months": months}, ids[name], "UTC")
            ]
            save_events(uow, self.store, pa.Table.from_pylist(rows, EVENT_SCHEMA), batch["id"])

    def counts(self, *entities: str) -> list[int]:
        with self.work() as uow:
            return [uow.query(f'SELECT count(*) AS n FROM "{one}"')[0]["n"] for one in entities]


def line(rate_plan: str, **more: Any) -> NewQuoteLine:
    """A line at the head office."""
    for name in ("quantity", "discount_percent"):
        if name in more:
            more[name] = Decimal(str(more[name]))
    return NewQuoteLine(**{"rate_plan": rate_plan, "site": "HQ", **more})


def uses(meter: str, quantity: object, **more: Any) -> tuple[Estimate, ...]:
    """An estimate for a month."""
    return (Estimate(meter=meter, quantity=Decimal(str(quantity)), **more),)


__all__ = ["APRIL", "MAY", "NOW", "START", "Shop", "line", "replace", "uses"]


def open_shop(organisation: Organisation) -> Shop:
    """ACME with two sites, and prices for everything."""
    shop = Shop(organisation)
    shop.load_prices(PRICES)
    account = shop.open_account("ACME")
    with shop.work() as uow:
        uow.create_many(
            "site",
            [
                {"external_id": name, "account_id": account, "name": name, "country": "US"}
                for name in ("HQ", "LAB")
            ],
        )
    return shop


@pytest.fixture
def shop(organisation: Organisation) -> Shop:
    """A shop of its own."""
    return open_shop(organisation)


@pytest.fixture(scope="module")
def market(server: Settings) -> Iterator[Shop]:
    """A shop that the tests of a module share, with one quote to copy."""
    with scratch_organisation(server) as organisation:
        shop = open_shop(organisation)
        shop.quote(line("support"))
        yield shop


def copied(shop: Shop, **changes: Any) -> Quote:
    """A draft as the first quote of the shop, under a number of its own, without pricing it."""
    with shop.work() as uow:
        (first,) = read_quotes(uow, [1])
        number = f"C-{uow.next_numbers('copies', 1):03}"
        row = {name: value for name, value in first.row.items() if name in QUOTE_FIELDS}
        row |= {"status": "draft", "number": number, **changes}
        made = uow.create("quote", row, by_command=True)
        for one in first.lines:
            values = {name: one[name] for name in LINE_FIELDS} | {"quote_id": made["id"]}
            line_id = uow.create("quote_line", values, by_command=True)["id"]
            charges = [
                {name: charge[name] for name in CHARGE_FIELDS} | {"quote_line_id": line_id}
                for charge in one["charges"]
            ]
            uow.create_many("quote_charge", charges, by_command=True)
        return read_quotes(uow, [int(made["id"])])[0]


QUOTE_FIELDS, LINE_FIELDS, CHARGE_FIELDS = (
    [field.name for field in entity.stored] for entity in (QUOTE, QUOTE_LINE, QUOTE_CHARGE)
)
