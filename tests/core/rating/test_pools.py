"""Pools and allowances: the engine's statements against the slow reference, event by event."""

from datetime import datetime, time, timedelta
from fractions import Fraction
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.rating.pool_reference import Allowance, Pooled, rate_pools
from tests.core.rating.reference import Item, Price, half_up
from tests.core.rating.test_engine_equals_reference import FIRST, decimal, register, tiers

from counterfoil.core.rating.relations import (
    ALLOWANCE,
    ALLOWANCE_ITEM,
    BILLED_USAGE,
    CHARGE_ITEM,
    PRICE,
    PRICE_LAYER,
    PRICE_TIER,
    USAGE,
)
from counterfoil.core.rating.statements import Needs, price_statements, rating_statements
from counterfoil.platform.engine.duck import Engine, open_engine

CYCLE_END = FIRST + timedelta(days=30)
Case = tuple[list[Item], dict[int, int], dict[int, Price], list[Allowance]]


@st.composite
def pools(draw: Any) -> Case:
    """Items in at most three pools; those of one pool share unit and aggregation, not the price."""
    made: list[Item] = []
    pool_of: dict[int, int] = {}
    prices: dict[int, Price] = {}
    kinds = {
        pool: (draw(st.sampled_from([1, 60, 7])), draw(st.sampled_from(["sum", "sum", "count"])))
        for pool in (1, 2, 3)
    }
    for number in range(1, draw(st.integers(2, 5)) + 1):
        pool = draw(st.integers(1, 3))
        model = draw(st.sampled_from(["per_unit", "graduated", "volume", "package"]))
        included = Fraction(draw(st.sampled_from(["0", "0", "3", "7.25"])))
        size = Fraction(draw(st.sampled_from(["1", "2.5", "10"]))) if model == "package" else None
        prices[number] = Price(
            number, "list", 0, None, None, model, size, included, draw(tiers(model))
        )
        pool_of[number] = pool
        made.append(_item(draw, number, *kinds[pool]))
    return made, pool_of, prices, _allowances(draw, [item.item_id for item in made])


def _item(draw: Any, number: int, unit_size: int, aggregation: str) -> Item:
    moments = st.tuples(st.integers(0, 30 * 24 - 1), st.integers(0, 200))
    events = draw(st.lists(moments, max_size=6))
    start = FIRST + timedelta(days=draw(st.sampled_from([0, 0, 9])))
    begin = datetime.combine(FIRST, time.min)
    return Item(
        number,
        "usage",
        draw(st.sampled_from([0, 2, 3])),
        FIRST,
        CYCLE_END,
        start,
        CYCLE_END,
        aggregation=aggregation,
        event_increment=draw(st.sampled_from([None, Fraction(60), Fraction("0.1")])),
        unit_size=unit_size,
        events=tuple((begin + timedelta(hours=hour), Fraction(q, 2)) for hour, q in events),
    )


def _allowances(draw: Any, items: list[int]) -> list[Allowance]:
    return [
        Allowance(
            rank,
            rank,
            Fraction(draw(st.sampled_from(["0", "5", "12.5", "100"]))),
            frozenset(draw(st.lists(st.sampled_from(items), min_size=1, unique=True))),
        )
        for rank in range(1, draw(st.integers(0, 3)) + 1)
    ]


@given(pools())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_pools_cost_what_the_reference_says(case: Case) -> None:
    items, pool_of, prices, allowances = case
    expected = {pooled.item_id: pooled for pooled in rate_pools(items, pool_of, prices, allowances)}
    with open_engine(threads=1) as engine:
        got = rate_with_engine(engine, case)
    for item in items:
        nothing = Pooled(item.item_id, Fraction(0), Fraction(0), half_up(Fraction(0), 0))
        want, have = expected[item.item_id], got.get(item.item_id, nothing)
        assert (have.quantity, have.drawn, have.amount) == (want.quantity, want.drawn, want.amount)


def rate_with_engine(engine: Engine, case: Case) -> dict[int, Pooled]:
    items, pool_of, prices, allowances = case
    load(engine, items, pool_of, prices)
    register(engine, ALLOWANCE, [(a.allowance_id, a.rank, decimal(a.capacity)) for a in allowances])
    register(engine, ALLOWANCE_ITEM, [(a.allowance_id, i) for a in allowances for i in a.items])
    for statement in price_statements(Needs()):
        engine.run(statement.create)
    engine.run(
        "CREATE TABLE midnight AS SELECT DISTINCT 'UTC' AS time_zone, d AS day, "
        "CAST(d AS TIMESTAMP) AS instant FROM (SELECT epoch_start AS d FROM price_epoch "
        "UNION SELECT epoch_end FROM price_epoch)"
    )
    needs = Needs(by_event=True, allowance_ranks=len(allowances))
    for statement in rating_statements(needs):
        engine.run(statement.create)
    drawn = dict(engine.rows("SELECT item_id, sum(quantity) FROM drawn GROUP BY item_id"))
    rows = engine.rows("SELECT item_id, quantity, amount FROM rated")
    return {
        item: Pooled(item, Fraction(quantity), Fraction(drawn.get(item, 0)), amount)
        for item, quantity, amount in rows
    }


def load(
    engine: Engine, items: list[Item], pool_of: dict[int, int], prices: dict[int, Price]
) -> None:
    """Every item is its own charge with its own price; price ids are those of the items."""
    rows = [
        {
            **dict.fromkeys(CHARGE_ITEM.columns),
            "item_id": i.item_id,
            "subscription_charge_id": i.item_id,
            "subscription_id": i.item_id,
            "account_id": 9,
            "charge_id": i.item_id,
            "kind": "usage",
            "currency": "USD",
            "minor_digits": i.minor_digits,
            "time_zone": "UTC",
            "cycle_start": i.cycle_start,
            "cycle_end": i.cycle_end,
            "service_start": i.service_start,
            "service_end": i.service_end,
            "pricing_end": i.service_end,
            "quantity": decimal(Fraction(1)),
            "prorated": False,
            "meter_id": i.item_id,
            "aggregation": i.aggregation,
            "event_increment": decimal(i.event_increment),
            "unit_size": i.unit_size,
            "by_event": True,
            "pool_id": pool_of[i.item_id],
            "counted_only": False,
        }
        for i in items
    ]
    register(engine, CHARGE_ITEM, [tuple(row.values()) for row in rows])
    register(
        engine,
        PRICE,
        [
            tuple(
                {
                    **dict.fromkeys(PRICE.columns),
                    "price_id": number,
                    "charge_id": number,
                    "currency": "USD",
                    "layer": "list",
                    "owner_id": 0,
                    "model": p.model,
                    "package_size": decimal(p.package_size),
                    "included_quantity": decimal(p.included),
                }.values()
            )
            for number, p in prices.items()
        ],
    )
    register(
        engine,
        PRICE_TIER,
        [
            tuple(
                {
                    **dict.fromkeys(PRICE_TIER.columns),
                    "price_id": number,
                    "cell_no": 0,
                    "from_quantity": decimal(t.start),
                    "up_to": decimal(t.up_to),
                    "unit_amount": decimal(t.unit_amount),
                    "flat_amount": decimal(t.flat_amount),
                }.values()
            )
            for number, p in prices.items()
            for t in p.tiers
        ],
    )
    layer = {**dict.fromkeys(PRICE_LAYER.columns), "layer": "list", "owner_id": 0, "specificity": 0}
    key = "account_id" if "account_id" in layer else "item_id"
    owners = [9] if key == "account_id" else [i.item_id for i in items]
    register(engine, PRICE_LAYER, [tuple({**layer, key: owner}.values()) for owner in owners])
    register(
        engine,
        USAGE,
        [
            tuple(
                {
                    **dict.fromkeys(USAGE.columns),
                    "source": "s",
                    "event_id": f"{i.item_id}-{n}",
                    "time": at,
                    "subscription_id": i.item_id,
                    "meter_id": i.item_id,
                    "quantity": decimal(q),
                }.values()
            )
            for i in items
            for n, (at, q) in enumerate(i.events)
        ],
    )
    register(engine, BILLED_USAGE, [])
