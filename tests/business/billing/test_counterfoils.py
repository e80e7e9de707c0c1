"""The events of an explanation add up to the rated charge they explain."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.business.billing.conftest import NOW, Company

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing.explanation import explain_line
from counterfoil.business.usage.compaction import compact
from counterfoil.business.usage.corrections import Correction, correct_usage

JAN, FEB, MAR = date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)


def at(day: int) -> datetime:
    return datetime(2024, 1, day, 12, tzinfo=UTC)


def book(aggregation: str) -> str:
    """Two prices that follow each other on 15 January, with a flat amount in the first tier."""
    tiers = "model: graduated, tiers: [{up_to: 10, amount: 1, flat: 7}, {amount: 2}]"
    return (
        "products: [{id: p, name: P}]\n"
        f"meters: [{{id: seconds, name: S, unit: second, aggregation: {aggregation}}}]\n"
        "rate_plans: [{id: plan, product: p, name: N, charges: [{id: c, name: C, kind: usage, "
        "meter: seconds, prices: [{currency: USD, valid_to: 2024-01-15, " + tiers + "}, "
        "{currency: USD, valid_from: 2024-01-15, " + tiers + "}]}]}]"
    )


def explained(company: Company) -> list[tuple[Decimal, Decimal]]:
    """For each line the exact amount of its charge, and what its events say."""
    with company.database.transaction(now=NOW) as uow:
        ids = [row["id"] for row in uow.query("SELECT id FROM invoice_line ORDER BY id")]
        told = [explain_line(uow, company.store, line) for line in ids]
    return [
        (
            each.rated_charge["exact_amount"],
            sum((event["exact_amount"] for event in each.events), Decimal(0)),
        )
        for each in told
    ]


@pytest.mark.parametrize("aggregation", ["sum", "count", "max"])
@pytest.mark.parametrize("days", [(3, 20), (3, 4, 20, 21), (20, 21)])
def test_events_add_up_on_both_sides_of_a_price_change(
    company: Company, aggregation: str, days: tuple[int, ...]
) -> None:
    company.load_prices(book(aggregation))
    company.open_account("ACME")
    subscription = company.subscribe("S", "ACME", "plan", JAN)
    events = [(f"e{day}", at(day), str(day)) for day in days]
    company.use(subscription, *events)
    company.bill(FEB)
    found = explained(company)
    assert len(found) == 2
    for amount, told in found:
        if told:
            assert amount == told


POOLED = (
    "products: [{id: p, name: P}]\n"
    "meters: [{id: seconds, name: S, unit: second}]\n"
    "rate_plans: [{id: pooled, product: p, name: N, charges: [{id: c, name: C, kind: usage, "
    "meter: seconds, pooled_over: account, prices: [{currency: USD, model: graduated, "
    "tiers: [{up_to: 600, amount: 2}, {amount: 1}]}]}]}]"
)


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("plan", ["minutes", "pooled"])
def test_what_comes_later_is_not_in_the_explanation_of_what_was_billed_before(
    company: Company, plan: str, *, compacted: bool
) -> None:
    company.load_prices(POOLED)
    company.open_account("ACME")
    subscription = company.subscribe("M", "ACME", plan, JAN)
    company.use(subscription, ("a", at(3), "660"), ("b", at(4), "60"))
    company.bill(FEB)
    before = explained(company)

    company.use(subscription, ("late", at(2), "180"))
    with company.database.transaction(now=NOW) as uow:
        correct_usage(uow, company.store, [Correction("bridge", "b", Decimal(120))])
    if compacted:
        compact(company.database, company.store, now=NOW)
    company.bill(MAR)

    after = explained(company)
    assert after[:1] == before
    assert len(after) == 2
    assert after[1][0] != 0


@pytest.mark.parametrize(
    ("meter", "charge", "said"),
    [
        (
            "aggregation: max",
            "unit: call",
            "2 usage events of meter seconds make 90 calls, the highest of them.",
        ),
        (
            "aggregation: sum",
            "unit: minute, unit_size: 60, unit_rounding: down",
            "2 usage events of meter seconds make 2 minutes, rounded down to whole minutes.",
        ),
        (
            "aggregation: sum",
            "unit: call, event_minimum: 70, event_increment: 20",
            (
                "2 usage events of meter seconds, each at least 70 seconds and rounded up to "
                "20 seconds, make 180 calls."
            ),
        ),
    ],
)
def test_a_counterfoil_says_how_events_make_a_quantity(
    company: Company, meter: str, charge: str, said: str
) -> None:
    company.load_prices(
        "products: [{id: p, name: P}]\n"
        f"meters: [{{id: seconds, name: S, unit: second, {meter}}}]\n"
        "rate_plans: [{id: plan, product: p, name: N, charges: [{id: c, name: C, kind: usage, "
        f"meter: seconds, {charge}, prices: [{{currency: USD, model: per_unit, amount: 1}}]}}]}}]"
    )
    company.open_account("ACME")
    subscription = company.subscribe("S", "ACME", "plan", JAN)
    company.use(subscription, ("e1", at(3), "61"), ("e2", at(4), "90"))
    company.bill(FEB)
    with company.database.transaction(now=NOW) as uow:
        (line,) = uow.query("SELECT id FROM invoice_line")
        told = explain_line(uow, company.store, line["id"])
    assert told.sentences[1] == said


def test_a_counterfoil_says_how_long_units_stood(organisation: Organisation) -> None:
    company = Company(organisation)
    company.load_prices(
        "products: [{id: p, name: P}]\n"
        "meters: [{id: seconds, name: S, unit: seat, carried_over: true}]\n"
        "rate_plans: [{id: plan, product: p, name: N, charges: [{id: c, name: C, kind: usage, "
        "meter: seconds, unit: seat, prices: [{currency: USD, model: stairstep, valid_to: "
        "2024-01-16, tiers: [{up_to: 10, amount: 31}, {amount: 62}]}, {currency: USD, model: "
        "stairstep, valid_from: 2024-01-16, tiers: [{up_to: 10, amount: 310}, {amount: 620}]}]}]}]"
    )
    company.open_account("ACME")
    subscription = company.subscribe("S", "ACME", "plan", JAN)
    company.use(subscription, ("e1", at(1), "8"), ("e2", at(20), "5"))
    company.bill(FEB)
    with company.database.transaction(now=NOW) as uow:
        lines = uow.query("SELECT id FROM invoice_line ORDER BY id")
        told = [explain_line(uow, company.store, line["id"]) for line in lines]
    assert told[1].sentences[1:] == (
        (
            "1 usage events of meter seconds make 13 seats, each for the share of the cycle's days "
            "for which it stood."
        ),
        "Tier from 0 to 10: 0 seats × 0 - 310 = -310 USD.",
        "Tier from 10 and above: 6.064516129032258 seats × 0 + 620 = 620 USD.",
        "310 USD is rounded half-up once to 310.00 USD.",
    )
    assert explained(company) == [(Decimal(31), Decimal(31)), (Decimal(310), Decimal(310))]


def test_a_counterfoil_says_what_single_events_cost(company: Company) -> None:
    company.load_prices(
        "products: [{id: p, name: P}]\n"
        "meters: [{id: seconds, name: S, unit: USD}]\n"
        "rate_plans: [{id: plan, product: p, name: N, charges: [{id: c, name: C, kind: usage, "
        "meter: seconds, unit: USD, prices: [{currency: USD, model: graduated_percentage, "
        "event_amount: 0.3, event_amount_maximum: 12, free_events: 1, "
        "tiers: [{up_to: 100, amount: 0.03}, {amount: 0.01}]}]}]}]"
    )
    company.open_account("ACME")
    subscription = company.subscribe("S", "ACME", "plan", JAN)
    company.use(subscription, ("a", at(3), "50"), ("b", at(4), "50"), ("c", at(5), "3200"))
    company.bill(FEB)
    with company.database.transaction(now=NOW) as uow:
        (line,) = uow.query("SELECT id FROM invoice_line")
        told = explain_line(uow, company.store, line["id"])
    assert told.sentences[2:] == (
        "Of each cycle the first 1 events cost nothing and have no place in the tiers.",
        "Each event costs at most 12.00 USD.",
        "Tier from 0 to 100: 100 USDs × 0.03 = 3 USD.",
        "Tier from 100 and above: 3,150 USDs × 0.01 = 31.5 USD.",
        "Per event, beside their quantity: -20.7 USD.",
        "13.8 USD is rounded half-up once to 13.80 USD.",
    )


def test_a_counterfoil_names_the_groups(company: Company) -> None:
    company.load_prices(
        "products: [{id: p, name: P}]\n"
        "meters: [{id: seconds, name: S, unit: second}]\n"
        "rate_plans: [{id: plan, product: p, name: N, charges: [{id: c, name: C, kind: usage, "
        "meter: seconds, unit: second, group_by: server, prices: [{currency: USD, "
        "model: graduated, tiers: [{up_to: 10, amount: 1}, {amount: 0.5}]}]}]}]"
    )
    company.open_account("ACME")
    subscription = company.subscribe("S", "ACME", "plan", JAN)
    company.use(subscription, ("e1", at(3), "12"), attributes='{"server": "web"}')
    company.use(subscription, ("e2", at(4), "4"), attributes='{"server": "db"}')
    company.use(subscription, ("e3", at(5), "1"))
    company.bill(FEB)
    with company.database.transaction(now=NOW) as uow:
        (line,) = uow.query("SELECT id FROM invoice_line")
        told = explain_line(uow, company.store, line["id"])
    assert told.sentences[2:6] == (
        "db: tier from 0 to 10: 4 seconds × 1 = 4 USD.",
        "everything else: tier from 0 to 10: 1 seconds × 1 = 1 USD.",
        "web: tier from 0 to 10: 10 seconds × 1 = 10 USD.",
        "web: tier from 10 and above: 2 seconds × 0.5 = 1 USD.",
    )
    assert [(each["event_id"], each["exact_amount"]) for each in told.events] == [
        ("e1", Decimal(11)),
        ("e2", Decimal(4)),
        ("e3", Decimal(1)),
    ]


def test_events_of_a_pool_add_up_hour_by_hour(company: Company) -> None:
    company.load_prices(
        "products: [{id: p, name: P}]\n"
        "meters: [{id: seconds, name: S, unit: second}]\n"
        "rate_plans: [{id: pooled, product: p, name: N, charges: [{id: c, name: C, kind: usage, "
        "meter: seconds, pooled_over: account, prices: [{currency: USD, model: graduated, "
        "amount: 0.02, cells: [{days: [mon..fri], from: 08:00, to: 18:00, "
        "tiers: [{up_to: 100, amount: 0.1}, {amount: 0.05}]}]}]}]}]"
    )
    company.open_account("ACME")
    one = company.subscribe("S", "ACME", "pooled", JAN)
    other = company.subscribe("T", "ACME", "pooled", JAN)
    company.use(one, ("e1", at(3), "80"), ("e2", datetime(2024, 1, 4, 23, tzinfo=UTC), "10"))
    company.use(other, ("e3", at(4), "50"))
    company.bill(FEB)
    assert explained(company) == [
        (Decimal("8.2"), Decimal("8.2")),
        (Decimal("3.5"), Decimal("3.5")),
    ]
