"""A month of usage costs the same whether it is billed at once or in parts, in any order.

Every case is an account with a price of its own; TOGETHER gets all its usage before the first bill
run, APART gets the same events shuffled, a part before each of four. To the cent, for every model.
"""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from tests.business.billing.conftest import Company

JAN = date(2024, 1, 1)
BILLING_DATES = (date(2024, 2, 1), date(2024, 3, 1), date(2024, 4, 1), date(2024, 5, 1))
CASES = 24

PLANS = """
products: [{{id: p, name: Product}}]
meters: [{{id: seconds, name: Seconds, unit: second}}]
rate_plans:
"""
PLAN = """
  - id: plan-{case}
    product: p
    name: Plan {case}
    charges:
      - id: charge-{case}
        name: Charge {case}
        kind: usage
        meter: seconds
        unit: unit
        unit_size: {unit_size}
        {increment}
        pooled_over: {pooled_over}
        prices: [{{currency: USD, {price}}}]
"""
PRICES = (
    "model: per_unit, amount: 0.0333",
    "model: per_unit, amount: 0.005, included: 7",
    "model: graduated, tiers: [{up_to: 10, amount: 0.105, flat: 0.335}, {amount: 0.0125}]",
    "model: graduated, included: 3, tiers: [{up_to: 5, amount: 1}, {amount: 0.3333}]",
    "model: volume, tiers: [{up_to: 10, amount: 0.15}, {amount: 0.0775, flat: 1.005}]",
    "model: package, package_size: 7, amount: 0.415",
)
Part = list[tuple[str, datetime, str]]


def _plans(chance: Random) -> str:
    plans = [
        PLAN.format(
            case=case,
            unit_size=chance.choice([1, 60, 7]),
            increment=chance.choice(["", "event_increment: 6", "event_increment: 60"]),
            pooled_over=chance.choice(["subscription", "subscription", "account"]),
            price=PRICES[case % len(PRICES)],
        )
        for case in range(CASES)
    ]
    return PLANS.replace("{{", "{").replace("}}", "}") + "".join(plans)


def _events(chance: Random, case: int) -> Part:
    """A dozen events of January, often at the same instant."""
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    return [
        (
            f"e{case}-{number}",
            begin + timedelta(hours=chance.randrange(0, 24 * 31, 6)),
            str(chance.choice([1, 59, 60, 61, 450]) * Decimal("0.5")),
        )
        for number in range(12)
    ]


def _billed(company: Company) -> dict[str, Decimal]:
    """What each account was billed in all."""
    totals: dict[str, Decimal] = defaultdict(Decimal)
    with company.database.transaction(now=datetime(2024, 6, 1, tzinfo=UTC)) as uow:
        for row in uow.query(
            "SELECT a.external_id, i.total FROM invoice i JOIN account a ON a.id = i.account_id"
        ):
            totals[row["external_id"]] += row["total"]
    return totals


@pytest.mark.slow
def test_parts_add_up_to_the_whole_to_the_cent(company: Company) -> None:
    chance = Random(20240131)
    company.load_prices(_plans(chance))
    together: dict[int, Part] = {}
    apart: dict[int, list[Part]] = {}
    for case in range(CASES):
        events = _events(chance, case)
        shuffled = chance.sample(events, len(events))
        for name in ("TOGETHER", "APART"):
            company.open_account(f"{name}-{case}")
        whole = company.subscribe(f"T{case}", f"TOGETHER-{case}", f"plan-{case}", JAN)
        parts = company.subscribe(f"A{case}", f"APART-{case}", f"plan-{case}", JAN)
        together[whole] = events
        # Ids are unique in a source, so the parts have others; which comes first at one instant
        # follows from them, as for the whole.
        apart[parts] = [
            [(f"x{event}", at, quantity) for event, at, quantity in shuffled[n::4]]
            for n in range(4)
        ]
    for subscription, events in together.items():
        company.use(subscription, *events)
    for number, day in enumerate(BILLING_DATES):
        for subscription, parts in apart.items():
            company.use(subscription, *parts[number])
        company.bill(day)
    billed = _billed(company)
    different = {
        case: (billed[f"TOGETHER-{case}"], billed[f"APART-{case}"])
        for case in range(CASES)
        if billed[f"TOGETHER-{case}"] != billed[f"APART-{case}"]
    }
    assert different == {}
    assert sum(billed.values()) > 100
