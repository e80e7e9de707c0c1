"""Simulations with commitments and prepaid balances: what the invoices of the past would come to.

A and B are billed for a room at 50.00 in advance and for minutes at 1.00, on the first of a month.
Each month A talks 60 minutes; B 30, in January and February. A promises 100.00 a month; of all that
A and B come to in a quarter at most 400.00 are billed, which TOP above them is credited for. From
February on A has a balance of 120.00 of its own, and after it both have one of 100.00.

    1 January    A 50, B 50.
    1 February   A 60 + 50, its own balance pays 110. B 30 + 50, the shared one pays 80.
    1 March      A 60 + 50: the balances pay 10 and 20. B 30 + 50. TOP: 480 in the quarter, -80.
    1 April      A 60 + 50, B 50. TOP: 540 in the quarter, another -60.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.business.billing.conftest import Company
from tests.furnishing import Furnishings

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing.commands import run_bills
from counterfoil.business.billing.simulation import Row, Simulation, simulate
from counterfoil.business.billing.window import Window
from counterfoil.business.incentives.commands import save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.business.products.price_book import parse_price_book

NOW = datetime(2024, 4, 2, 12, tzinfo=UTC)
JAN, FEB, MAR, APR = (date(2024, month, 1) for month in range(1, 5))

BOOK = """
products: [{id: video, name: Video}]
meters: [{id: seconds, name: Time, unit: second}]
rate_plans:
  - id: talking
    product: video
    name: Talking
    charges:
      - {id: place, name: Place, kind: recurring, timing: in_advance, unit: room,
         prices: [{currency: USD, model: per_unit, amount: 50.00}]}
      - {id: talk, name: Talk, kind: usage, meter: seconds,
         prices: [{currency: USD, model: per_unit, amount: 1.00}]}
"""
CHEAPER = BOOK.replace("50.00", "20.00")
DEARER = BOOK.replace("1.00", "1.50")

INCENTIVES = """
commitments:
  - {id: floor, name: Minimum, minimum: 100.00, currency: USD, account: A, scope: account,
     product: video, start: 2024-01-01}
  - {id: lid, name: Maximum, maximum: 400.00, currency: USD, account: TOP, period: quarter,
     start: 2024-01-01}
grants:
  - {id: own, account: A, currency: USD, amount: 120.00, start: 2024-02-01}
  - {id: shared, account: TOP, currency: USD, amount: 100.00, start: 2024-02-01, priority: 200}
"""


def furnish(organisation: Organisation) -> None:
    company = Company(organisation)
    company.load_prices(BOOK)
    with company.database.transaction(now=NOW) as uow:
        top = uow.create("account", {"external_id": "TOP", "name": "Top"})
        uow.create("billing_profile", {"account_id": top["id"], "currency": "USD"})
        for name in ("A", "B"):
            account = uow.create(
                "account", {"external_id": name, "name": name, "parent_id": top["id"]}
            )
            uow.create("billing_profile", {"account_id": account["id"], "currency": "USD"})
        file, problems = parse_incentives(INCENTIVES, "incentives.yaml")
        assert problems == []
        save_incentives(uow, file)
    a = company.subscribe("A", "A", "talking", JAN)
    b = company.subscribe("B", "B", "talking", JAN)
    for month in (1, 2, 3):
        company.use(a, (f"a{month}", datetime(2024, month, 9, tzinfo=UTC), "60"))
    for month in (1, 2):
        company.use(b, (f"b{month}", datetime(2024, month, 9, tzinfo=UTC), "30"))
    for day in (JAN, FEB, MAR, APR):
        run_bills(company.database, company.store, day, now=NOW)


@pytest.fixture(scope="module")
def billed(furnishings: Furnishings) -> Iterator[Company]:
    with furnishings.copy(furnish) as organisation:
        yield Company(organisation)


def simulated(
    company: Company, text: str, first: date = JAN, last: date = APR, **more: object
) -> Simulation:
    book, problems = parse_price_book(text, "draft.yaml")
    assert problems == []
    return simulate(company.database, company.store, book, Window(first, last), now=NOW, **more)


def side(row: Row, name: str) -> tuple[Decimal, Decimal, Decimal]:
    """What a side comes to, what of it commitments add, and what balances pay."""
    parts = (name, f"{name}_commitment", f"{name}_prepaid")
    return tuple(getattr(row.amounts, part) for part in parts)


def dollars(*amounts: str) -> tuple[Decimal, ...]:
    return tuple(map(Decimal, amounts))


def test_the_same_prices_come_to_what_was_billed(billed: Company) -> None:
    before = billed.counts()
    report = simulated(billed, BOOK)
    (total,) = report.totals
    # Rooms 300, minutes 240: less than 540 by the 140 above the maximum.
    assert total.amounts.billed == Decimal("400.00")
    assert side(total, "present") == side(total, "draft") == dollars("400.00", "-140.00", "220.00")
    with billed.database.transaction(now=NOW) as uow:
        (drawn,) = uow.query("SELECT -sum(amount) AS amount FROM rated_charge WHERE kind='prepaid'")
    assert drawn["amount"] == Decimal("220.00")
    assert billed.counts() == before


def test_commitments_and_balances_follow_the_amounts_of_the_draft(billed: Company) -> None:
    report = simulated(billed, CHEAPER)
    # A comes to 80 a month, so 20 are missing. Everybody comes to 420, 20 too much.
    # 1 February: A 60 + 20 + 20 from its own balance, B 30 + 20 from the shared one. 1 March: A has
    # 20 + 50 left.
    assert side(report.totals[0], "draft") == dollars("400.00", "40.00", "220.00")
    found = {row.names: row for row in report.accounts}
    assert side(found["A", "A"], "draft") == dollars("300.00", "60.00", "170.00")
    assert side(found["B", "B"], "draft") == dollars("120.00", "0.00", "50.00")
    assert side(found["TOP", "Top"], "draft") == dollars("-20.00", "-20.00", "0.00")
    charges = {row.names: row for row in report.products}
    # The maximum has no product. Balances pay the minimum as they pay the rest.
    assert side(charges["", "lid"], "present") == dollars("-140.00", "-140.00", "0.00")
    assert charges["", "lid"].amounts.billed == Decimal("-140.00")
    # 20 of 100 on 1 February and 20 of 100, of which 70 are paid, on 1 March.
    assert side(charges["video", "floor"], "draft") == dollars("60.00", "60.00", "34.00")
    assert side(charges["video", "floor"], "present") == dollars("0.00", "0.00", "0.00")


def test_adjoining_months_add_up(billed: Company) -> None:
    months = [
        simulated(billed, BOOK, first, last).totals[0]
        for first, last in ((JAN, FEB), (FEB, MAR), (MAR, APR))
    ]
    # The maximum belongs to the month in which its quarter begins. Of the 30 that pay A's invoice
    # of 1 March, 60/110 pay the minutes of February and 50/110 the room of March.
    assert [side(month, "present") for month in months] == [
        dollars("50.00", "-140.00", "90.00"),
        dollars("190.00", "0.00", "116.36"),
        dollars("160.00", "0.00", "13.64"),
    ]


def test_of_one_account_the_others_have_drawn_their_part(billed: Company) -> None:
    with billed.database.transaction(now=NOW) as uow:
        account = uow.ids_by("account", "external_id", ["A"])["A"]
    lines: list[dict[str, object]] = []
    report = simulated(
        billed,
        CHEAPER,
        accounts=[account],
        lines=lambda table: lines.extend(table.to_pylist()),
    )
    assert [row.names for row in report.accounts] == [("A", "A")]
    assert side(report.totals[0], "draft") == dollars("300.00", "60.00", "170.00")
    kept = [line for line in lines if line["charge"] == "floor"]
    assert [(line["cycle_start"], line["draft"], line["draft_prepaid"]) for line in kept] == [
        (JAN, Decimal(20), Decimal(20)),
        (FEB, Decimal(20), Decimal(14)),
        (MAR, Decimal(20), Decimal(0)),
    ]


def test_a_period_that_is_not_over_asks_for_nothing_yet(furnishings: Furnishings) -> None:
    with furnishings.copy(furnish) as organisation:
        company = Company(organisation)
        text = """
commitments:
  - {id: year, name: Year, minimum: 9000.00, currency: USD, account: B, period: year,
     start: 2024-01-01}
"""
        with company.database.transaction(now=NOW) as uow:
            save_incentives(uow, parse_incentives(text, "incentives.yaml")[0])
        report = simulated(company, BOOK)
        assert ("", "year") not in {row.names for row in report.products}
        assert side(report.totals[0], "draft") == dollars("400.00", "-140.00", "220.00")


def test_a_commitment_waits_where_one_of_its_accounts_cannot_be_rated(
    furnishings: Furnishings,
) -> None:
    with furnishings.copy(furnish) as organisation:
        company = Company(organisation)
        unpriced = BOOK.replace("id: talking", "id: silent").replace("USD", "EUR")
        company.load_prices(unpriced.replace("id: place", "id: p").replace("id: talk,", "id: t,"))
        company.subscribe("X", "B", "silent", JAN)
        report = simulated(company, DEARER)
        # Of B nothing is known, so nobody can tell what all come to.
        assert {one.account for one in report.problems} == {"B"}
        assert [row.names[0] for row in report.accounts] == ["A"]
        # Minutes at 1.50: 3 x (50 + 90). 1 February: 140, of which its own balance pays 120 and
        # the shared one 20; 1 March: 140, of which 80 are paid.
        assert side(report.totals[0], "draft") == dollars("420.00", "0.00", "220.00")
