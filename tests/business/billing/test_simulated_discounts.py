"""Simulations with discounts: the invoices of the past made again, with what others used of them.

Two accounts of one tree. A has two rooms and talks for 100.00 a month, B has one room; everything
is billed on the first of a month. Everyone gets 5 percent from 400.00 on one date in the whole
tree, 10 from 500.00; A may use a coupon of 30.00 for its calls on two invoices. Nobody talks as
much as a formula asks for.

    1 January    A 200 rooms, B 100: 300, nothing off.
    1 February   A 200 and 100 of January's calls, B 100: 400, 5 percent. The coupon: 95 - 30 = 65.
    1 March      the same, with the coupon for the second time.
    1 April      the same, without it: the calls of March cost 95.
"""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.business.billing.conftest import Company

from counterfoil.business.billing.commands import run_bills
from counterfoil.business.billing.rerating import rerate_bills
from counterfoil.business.billing.simulation import Simulation, simulate
from counterfoil.business.billing.window import Window
from counterfoil.business.incentives.commands import save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.business.products.price_book import parse_price_book

NOW = datetime(2024, 4, 2, 12, tzinfo=UTC)
JAN, FEB, MAR, APR = (date(2024, month, 1) for month in range(1, 5))

BOOK = """
products: [{id: video, name: Video}]
rate_plans:
  - id: talking
    product: video
    name: Talking
    charges:
      - {id: place, name: Place, kind: recurring, timing: in_advance, unit: room,
         prices: [{currency: USD, model: per_unit, amount: 100.00}]}
      - {id: talk, name: Talk, kind: usage, meter: seconds,
         prices: [{currency: USD, model: per_unit, amount: 1.00}]}
"""
DRAFT = BOOK.replace("100.00", "150.00")

INCENTIVES = """
discounts:
  - {id: volume, name: Volume, tiers: [{from: 400, percent: 5}, {from: 500, percent: 10}],
     basis: root}
  - {id: coupon, name: Coupon, amount: 30.00, currency: USD, charges: [talk], accounts: [A],
     holder_uses: 2, priority: 200}
  - {id: much, name: For who talks much, percent: 50, condition: "usage('seconds', 'root') > 999"}
"""


@pytest.fixture
def billed(company: Company) -> Company:
    company.load_prices(BOOK)
    with company.database.transaction(now=company.now) as uow:
        top = uow.create("account", {"external_id": "TOP", "name": "Top"})
        for name in ("A", "B"):
            account = uow.create(
                "account", {"external_id": name, "name": name, "parent_id": top["id"]}
            )
            uow.create("billing_profile", {"account_id": account["id"], "currency": "USD"})
        file, problems = parse_incentives(INCENTIVES, "incentives.yaml")
        assert problems == []
        save_incentives(uow, file)
    talker = company.subscribe("A", "A", "talking", JAN, quantities={"place": Decimal(2)})
    company.subscribe("B", "B", "talking", JAN)
    for month in (1, 2, 3):
        company.use(talker, (f"e{month}", datetime(2024, month, 9, tzinfo=UTC), "100"))
    for day in (JAN, FEB, MAR, APR):
        run_bills(company.database, company.store, day, now=NOW)
    return company


def simulated(company: Company, text: str, first: date, last: date) -> Simulation:
    book, problems = parse_price_book(text, "draft.yaml")
    assert problems == []
    return simulate(company.database, company.store, book, Window(first, last), now=NOW)


def test_the_same_prices_come_to_what_was_billed(billed: Company) -> None:
    before = billed.counts()
    report = simulated(billed, BOOK, JAN, APR)
    # Rooms 300 + 2 x 285, calls 65 + 65 + 95; 30 and 75 were taken off.
    (total,) = report.totals
    amounts = total.amounts
    assert (amounts.billed, amounts.present, amounts.draft) == (Decimal("1095.00"),) * 3
    assert (amounts.present_discount, amounts.draft_discount) == (Decimal("105.00"),) * 2
    assert {row.names[0]: row.amounts.present for row in report.accounts} == {
        "A": Decimal("805.00"),
        "B": Decimal("290.00"),
    }
    assert billed.counts() == before


def test_discounts_follow_the_amounts_of_the_draft(billed: Company) -> None:
    report = simulated(billed, DRAFT, JAN, APR)
    # Rooms at 150: 450 in January, 5 percent; 550 with the calls from then on, 10 percent.
    # Rooms 427.50 + 2 x 405.00, calls 60 + 60 + 90.
    found = {row.names: row.amounts for row in report.products}
    rooms, calls = found["video", "place"], found["video", "talk"]
    assert (rooms.present, rooms.draft) == (Decimal("870.00"), Decimal("1237.50"))
    assert (calls.present, calls.draft) == (Decimal("225.00"), Decimal("210.00"))
    assert (calls.present_discount, calls.draft_discount) == (Decimal(75), Decimal(90))
    assert report.problems == ()


def test_adjoining_months_add_up(billed: Company) -> None:
    months = [
        simulated(billed, DRAFT, first, last).totals[0].amounts
        for first, last in ((JAN, FEB), (FEB, MAR), (MAR, APR))
    ]
    assert [month.present for month in months] == [
        *(Decimal("365.00"), Decimal("350.00"), Decimal("380.00"))
    ]
    assert sum(month.draft for month in months) == Decimal("1447.50")


def test_a_rerating_tells_what_discounts_add_to_its_differences(billed: Company) -> None:
    own = "prices: [{account: A, charge: talk, currency: USD, model: per_unit, amount: 0.50}]"
    billed.load_prices(own)
    found = rerate_bills(billed.database, billed.store, Window(FEB, MAR), now=NOW, apply=True)
    # The calls of February cost 50 in place of 100; 5 percent of them, 5.00, becomes 2.50. The
    # coupon stays: the credit note is of 47.50.
    (total,) = found.totals.values()
    assert (total.difference, total.discounts) == (Decimal("-50.00"), Decimal("2.50"))
    with billed.database.transaction(now=NOW) as uow:
        (note,) = uow.query("SELECT total FROM invoice WHERE kind = 'credit_note'")
    assert note["total"] == Decimal("-47.50")
