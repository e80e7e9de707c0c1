"""A company that sells rooms and calls, to ACME with twelve sites in three countries."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.business.automation.conftest import receiver

from counterfoil.bootstrap import Organisation, Settings, scratch_organisation
from counterfoil.business.billing.commands import run_bills
from counterfoil.business.orders.commands import (
    Progress,
    approve_orders,
    find_orders,
    release_orders,
)
from counterfoil.business.orders.notation import NewLine, NewOrder
from counterfoil.business.orders.placing import Placed, place_orders
from counterfoil.business.orders.tasks import complete_tasks, find_open_tasks
from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

__all__ = ["receiver"]

NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)
TODAY = date(2024, 3, 10)
FEB, MAR, APR, MAY = date(2024, 2, 1), date(2024, 3, 1), date(2024, 4, 1), date(2024, 5, 1)

PRICES = """
products: [{id: conferencing, name: Conferencing}, {id: lines, name: Lines}]
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
        prices: [{currency: USD, model: per_unit, amount: 310.00}]
  - id: large
    product: conferencing
    name: Large rooms
    charges:
      - id: large-room
        name: Large room
        kind: recurring
        timing: in_advance
        unit: room
        prices: [{currency: USD, model: per_unit, amount: 620.00}]
  - id: trunk
    product: lines
    name: Trunk
    charges:
      - id: line
        name: Line
        kind: recurring
        timing: in_advance
        prices: [{currency: USD, model: per_unit, amount: 31.00}]
      - id: set-up
        name: Set-up
        kind: one_time
        prices: [{currency: USD, model: per_unit, amount: 99.00}]
  - id: fee
    product: lines
    name: Early termination
    charges:
      - id: early
        name: Early termination
        kind: one_time
        prices: [{currency: USD, model: per_unit, amount: 0.00}]
"""

PLACES = (("US", "NY"), ("US", "CA"), ("DE", "BE"), ("FR", "IDF"))


class Desk:
    """Shorthand for what tests of this room do; ``now`` may be set."""

    def __init__(self, organisation: Organisation) -> None:
        self.organisation = organisation
        self.database = organisation.database
        self.now = NOW

    @contextmanager
    def work(self, actor: str = "clerk") -> Iterator[UnitOfWork]:
        with self.database.transaction(now=self.now, actor=actor) as uow:
            yield uow

    def place(self, *lines: NewLine, name: str = "A-1", **more: object) -> Placed:
        order = NewOrder(external_id=name, account="ACME", lines=lines, **more)  # type: ignore[arg-type]
        with self.work() as uow:
            return place_orders(uow, [order])[0]

    def released(self, *lines: NewLine, name: str = "A-1", **more: object) -> Progress:
        """An order that is placed, approved and released."""
        self.place(*lines, name=name, **more)
        with self.work() as uow:
            ids = find_orders(uow, [name])
            approve_orders(uow, ids)
            return release_orders(uow, ids)[0]

    def done(self, order: str = "A-1", **more: object) -> Progress:
        """Its open tasks are done: of ``lines``, of a ``name``, ``on`` a day."""
        on = more.pop("on", None)
        with self.work() as uow:
            (found,) = find_orders(uow, [order])
            tasks = find_open_tasks(uow, found, **more)  # type: ignore[arg-type]
            return complete_tasks(uow, tasks, on=on)[0]  # type: ignore[arg-type]

    def step(self, name: str, position: int = 1, **more: object) -> None:
        """A step of the product conferencing, or of the rate plan that is named."""
        plan = more.pop("plan", None)
        with self.work() as uow:
            entity, of = ("rate_plan", plan) if plan else ("product", "conferencing")
            owner = uow.ids_by(entity, "external_id", [of])[of]
            row = {"external_id": name, "name": name, "position": position, "kind": "checklist"}
            uow.create("provisioning_step", {**row, f"{entity}_id": owner, **more})

    def rows(self, sql: str, **parameters: object) -> list[Record]:
        with self.work() as uow:
            return uow.query(sql, **parameters)

    def lines(self) -> list[tuple[object, ...]]:
        """Of every line: position, status, first day served, first day billed."""
        rows = self.rows(
            "SELECT position, status, activated_on, billed_from FROM order_line"
            " ORDER BY order_id, position"
        )
        return [tuple(row.values()) for row in rows]

    def states(self) -> dict[str, str]:
        """The state of every task by its name."""
        return {
            str(row["name"]): str(row["state"])
            for row in self.rows("SELECT name, state FROM provisioning_task ORDER BY id")
        }

    def billed(self, day: date) -> list[tuple[object, ...]]:
        """The lines of what a bill run of a day makes: charge text, from, to, amount."""
        made = run_bills(self.database, self.organisation.usage_store, day, now=self.now)
        rows = self.rows(
            "SELECT l.description, l.service_start, l.service_end, l.amount FROM invoice_line l"
            " JOIN invoice i ON i.id = l.invoice_id WHERE i.bill_run_id = :run"
            " ORDER BY l.service_start, l.amount, l.id",
            run=made.bill_run_id,
        )
        return [tuple(row.values()) for row in rows]

    def told(self) -> list[tuple[str, str]]:
        """Type and subject of what was told to who listens."""
        rows = self.rows("SELECT type, subject FROM outgoing_event ORDER BY id")
        return [(str(row["type"]), str(row["subject"]).partition("/")[0]) for row in rows]

    def everything(self) -> list[Record]:
        """All that orders could change, to see that nothing did."""
        return self.rows(
            'SELECT (SELECT count(*) FROM "order") AS orders,'
            " (SELECT count(*) FROM order_line) AS lines,"
            " (SELECT jsonb_agg(t ORDER BY id) FROM provisioning_task t) AS tasks,"
            " (SELECT count(*) FROM subscription) AS subscriptions,"
            " (SELECT count(*) FROM amendment) AS amendments,"
            " (SELECT count(*) FROM price) AS prices"
        )


def give_limit(uow: UnitOfWork, name: str, percent: int) -> None:
    """A user who may give so much discount."""
    role = uow.create("access_role", {"external_id": name})["id"]
    user = uow.create("access_user", {"external_id": name})["id"]
    uow.create("user_role", {"access_user_id": user, "access_role_id": role})
    uow.create("discount_limit", {"access_role_id": role, "percent": percent})


# Everything that tests of this room leave behind; accounts, sites and prices stay.
_EMPTY = """
TRUNCATE "order", order_line, provisioning_step, provisioning_task, order_limit, subscription,
    amendment, subscription_charge, bill_run, invoice, job, number_series, discount,
    outgoing_event, mail_rule CASCADE
"""


@pytest.fixture(scope="session")
def company(server: Settings) -> Iterator[Organisation]:
    """ACME is billed in dollars; OTHER is another customer. Tests of this room share it."""
    with scratch_organisation(replace(server, private_webhooks=True)) as organisation:
        book, problems = parse_price_book(PRICES, "prices.yaml")
        assert problems == []
        with organisation.database.transaction(now=NOW) as uow:
            save_price_book(uow, book)
            for name, percent in (("clerk", 100), ("sally", 10), ("boss", 20)):
                give_limit(uow, name, percent)
            for name, sites in (("ACME", 12), ("OTHER", 1)):
                account = uow.create("account", {"external_id": name, "name": name})
                uow.create("billing_profile", {"account_id": account["id"], "currency": "USD"})
                rows = [
                    {
                        "external_id": f"{name}-{n + 1}",
                        "account_id": account["id"],
                        "name": f"{name} {n + 1}",
                        "country": PLACES[n % 4][0],
                        "region": PLACES[n % 4][1],
                    }
                    for n in range(sites)
                ]
                uow.create_many("site", rows)
        yield organisation


@pytest.fixture
def desk(company: Organisation) -> Iterator[Desk]:
    """The company without any order."""
    yield Desk(company)
    with company.database.transaction(now=NOW) as uow:
        uow.execute(_EMPTY)
        uow.execute("DELETE FROM price WHERE layer = 'subscription'")


def room(site: str | None = None, **more: object) -> NewLine:
    """A line that adds a room."""
    return NewLine(rate_plan="rooms", site=site, **more)  # type: ignore[arg-type]


def money(text: str) -> Decimal:
    return Decimal(text)
