"""Pools explain themselves: each event with what it added, in its place in the line of all."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.business.billing.conftest import Company

from counterfoil.business.billing.explanation import Explanation, explain_line

JAN, FEB, MAR = date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)

POOLED = """
products: [{id: conferencing, name: Conferencing}]
meters: [{id: seconds, name: Connection time, unit: second}]
rate_plans:
  - id: group-minutes
    product: conferencing
    name: Group minutes
    charges:
      - id: group-minute
        name: Minutes
        kind: usage
        meter: seconds
        unit: minute
        unit_size: 60
        pooled_over: root
        prices:
          - {currency: USD, model: graduated, tiers: [{up_to: 100, amount: 0.10}, {amount: 0.05}]}
"""


def at(day: int, hour: int = 12, month: int = 1) -> datetime:
    return datetime(2024, month, day, hour, tzinfo=UTC)


@pytest.fixture
def group(company: Company) -> tuple[int, int]:
    """Two accounts of one tree, each with a bill of its own, whose minutes count together."""
    company.load_prices(POOLED)
    top = company.open_account("NORTH")
    south = company.open_account("SOUTH")
    with company.database.transaction(now=at(1)) as uow:
        uow.update("account", south, {"parent_id": top})
    north_minutes = company.subscribe("N", "NORTH", "group-minutes", JAN)
    south_minutes = company.subscribe("S", "SOUTH", "group-minutes", JAN)
    company.use(north_minutes, ("n1", at(3), "4800"), ("n2", at(9), "6000"))
    company.use(south_minutes, ("s1", at(5), "3600"))
    return north_minutes, south_minutes


def explained(company: Company, number: str) -> Explanation:
    with company.database.transaction(now=at(1)) as uow:
        line = uow.query(
            "SELECT l.id FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id "
            "WHERE i.number = :number",
            number=number,
        )[0]["id"]
        return explain_line(uow, company.store, line)


def added(explanation: Explanation) -> list[tuple[str, Decimal, Decimal]]:
    return [
        (event["event_id"], event["billed_quantity"], event["exact_amount"])
        for event in explanation.events
    ]


def test_each_event_of_a_pool_shows_what_it_added(company: Company, group: tuple[int, int]) -> None:
    company.bill(FEB)
    # 80 at 0.10; SOUTH's 60 come between; then 100 at 0.05.
    north = explained(company, "INV-000001")
    assert added(north) == [("n1", 80, 8), ("n2", 100, 5)]
    assert north.line["amount"] == 13
    south = explained(company, "INV-000002")
    assert added(south) == [("s1", 60, 4)]
    assert south.line["amount"] == 4
    assert any("within one root" in sentence for sentence in south.sentences)


def test_late_usage_of_a_pool_says_what_was_billed_before(
    company: Company, group: tuple[int, int]
) -> None:
    company.bill(FEB)
    company.use(group[1], ("s0", at(4), "1200"))
    company.bill(MAR)
    south = explained(company, "INV-000003")
    # s0 takes the last 20 at 0.10, s1 pays 60 at 0.05: 5.00, of which 4.00 is billed.
    assert added(south) == [("s0", 20, 2), ("s1", 60, 3)]
    assert south.line["amount"] == 1
    assert any("4 USD, is taken off" in sentence for sentence in south.sentences)
