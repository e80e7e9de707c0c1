"""Meters beyond the sum: the engine against the slow reference, in any order and in any parts."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.rating.reference import Billed, Item, Price, Rated, half_up
from tests.core.rating.reference_meters import Event, MeteredItem, rate_metered
from tests.core.rating.test_engine_equals_reference import (
    FIRST,
    ITEM_OWNERS,
    MIDNIGHT_UTC,
    decimal,
    in_millionths,
    load,
    prices,
    rank,
    register,
)

from counterfoil.core.rating.relations import CHARGE_ITEM, USAGE
from counterfoil.core.rating.statements import Needs, price_statements, rating_statements
from counterfoil.platform.engine.duck import Engine, open_engine

LEVELS = ("sum", "latest", "unique_count", "weighted_sum")
AGGREGATIONS = (*LEVELS, "percentile", "sum", "count", "max")
BEFORE = timedelta(days=4)


@st.composite
def metered_items(draw: Any, item_id: int) -> MeteredItem:
    """A cycle of usage of which a part may have been billed before."""
    cycle_end = FIRST + timedelta(days=draw(st.sampled_from([7, 30])))
    length = (cycle_end - FIRST).days
    offset = draw(st.sampled_from([0, 0, 3]))
    start = FIRST + timedelta(days=offset)
    end = start + timedelta(days=draw(st.integers(1, length - offset)))
    aggregation = draw(st.sampled_from(AGGREGATIONS))
    carried = aggregation in LEVELS and draw(st.booleans())
    stood = carried and aggregation != "weighted_sum" and draw(st.booleans())
    rounding = draw(st.sampled_from(["up", "down", "half_up"]))
    plain = aggregation in ("sum", "count", "max") and not carried
    digits = draw(st.sampled_from([0, 2, 3]))
    billed: tuple[Billed, ...] = ()
    if draw(st.booleans()):
        exact = Fraction(draw(st.sampled_from(["0.125", "2.375", "12"])))
        rounded = Fraction(half_up(exact, digits))
        until = start + timedelta(days=draw(st.integers(1, (end - start).days)))
        billed = (Billed(start, until, 1, Fraction(draw(st.integers(0, 9))), exact, rounded),)
    item = Item(
        item_id,
        "usage",
        digits,
        FIRST,
        cycle_end,
        start,
        end,
        unit_size=draw(st.sampled_from([1, 60, 7])),
        billed=billed,
    )
    return MeteredItem(
        item,
        aggregation,
        draw(usage(item_id, length, signed=carried or aggregation in LEVELS[2:])),
        Fraction(draw(st.sampled_from(["50", "95", "33.334", "100", "0.001"]))),
        rounding if plain else draw(st.sampled_from(["exact", "exact", rounding])),
        carried,
        stood,
        start - BEFORE if carried else start,
    )


@st.composite
def usage(draw: Any, item_id: int, length: int, *, signed: bool) -> tuple[Event, ...]:
    quantities = st.integers(-90 if signed else 0, 200).map(lambda n: Fraction(n, 2))
    moments = draw(
        st.lists(
            st.tuples(
                st.integers(-5 * 24, length * 24 - 1),
                quantities,
                st.sampled_from(["ann", "bob", "cyd", None]),
            ),
            max_size=9,
        )
    )
    return tuple(
        Event(MIDNIGHT_UTC + timedelta(hours=hour), f"{item_id}-{n}", quantity, name)
        for n, (hour, quantity, name) in enumerate(moments)
    )


@st.composite
def cases(draw: Any) -> tuple[list[MeteredItem], dict[int, list[Price]]]:
    chosen = [draw(metered_items(number + 1)) for number in range(draw(st.integers(1, 5)))]
    return chosen, {metered.item.item_id: draw(prices()) for metered in chosen}


@given(cases())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_engine_reads_meters_as_the_reference_does(
    case: tuple[list[MeteredItem], dict[int, list[Price]]],
) -> None:
    chosen, books = case
    expected = [
        row
        for metered in chosen
        for row in rate_metered(metered, books[metered.item.item_id], rank)
    ]
    assert rated(chosen, books) == expected


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_order_in_which_events_come_never_matters(
    case: tuple[list[MeteredItem], dict[int, list[Price]]], random: Any
) -> None:
    chosen, books = case
    shuffled = [event for metered in chosen for event in event_rows(metered)]
    random.shuffle(shuffled)
    assert rated(chosen, books, shuffled) == rated(chosen, books)


def rated(
    chosen: list[MeteredItem],
    books: dict[int, list[Price]],
    events: list[tuple[Any, ...]] | None = None,
) -> list[Rated]:
    """What the engine makes of the items."""
    if events is None:
        events = [event for metered in chosen for event in event_rows(metered)]
    with open_engine(threads=1) as engine:
        load(engine, [metered.item for metered in chosen], books)
        register(engine, CHARGE_ITEM, [item_row(metered) for metered in chosen])
        register(engine, USAGE, events)
        run(engine, chosen)
        rows = engine.rows(
            "SELECT r.item_id, r.service_start, r.service_end, r.price_id % 100, r.quantity, "
            "r.exact_amount, r.amount, i.minor_digits "
            "FROM rated r JOIN charge_item i USING (item_id) ORDER BY r.item_id, r.epoch_no"
        )
    return [
        Rated(
            *row[:4],
            Fraction(row[4]),
            row[5].quantize(Decimal("1e-15")),
            row[6].quantize(Decimal(1).scaleb(-row[7])),
        )
        for row in rows
    ]


def run(engine: Engine, chosen: list[MeteredItem]) -> None:
    partials = bool(engine.row("SELECT coalesce(bool_or(partial), false) FROM price")[0])
    for statement in price_statements(Needs(partials=partials)):
        engine.run(statement.create)
    engine.run(
        "CREATE TABLE midnight AS SELECT 'UTC' AS time_zone, CAST(t AS DATE) AS day, t AS instant "
        "FROM range(TIMESTAMP '2023-12-01', TIMESTAMP '2024-03-01', INTERVAL 1 DAY) r(t)"
    )
    needs = Needs(
        attributes=("user",) if any(m.aggregation == "unique_count" for m in chosen) else (),
        aggregations=tuple(sorted({m.aggregation for m in chosen if not m.stood})),
        stood=tuple(sorted({m.aggregation for m in chosen if m.stood})),
    )
    for statement in rating_statements(needs):
        engine.run(statement.create)


def item_row(metered: MeteredItem) -> tuple[Any, ...]:
    item = metered.item
    values = {
        **dict.fromkeys(CHARGE_ITEM.columns, item.item_id),
        "account_id": 9,
        "kind": "usage",
        "currency": "USD",
        "minor_digits": item.minor_digits,
        "time_zone": "UTC",
        "cycle_start": item.cycle_start,
        "cycle_end": item.cycle_end,
        "service_start": item.service_start,
        "service_end": item.service_end,
        "pricing_end": item.service_end,
        "quantity": Decimal(1),
        "prorated": False,
        "by_second": False,
        "aggregation": metered.aggregation,
        "event_minimum": None,
        "event_increment": None,
        "unit_size": item.unit_size,
        "unit_rounding": metered.unit_rounding,
        "quantity_attribute": None,
        "property": "user" if metered.aggregation == "unique_count" else None,
        "percentile": decimal(metered.percentile),
        "carried_over": metered.carried_over,
        "stood": metered.stood,
        "usage_zone": "UTC",
        "counted_from": metered.counted_from,
        "by_event": False,
        "pool_id": None,
        "counted_only": False,
        **{f"{layer}_id": owner for layer, owner in ITEM_OWNERS.items()},
        "price_region_id": ITEM_OWNERS["region"],
    }
    return tuple(values[name] for name in CHARGE_ITEM.columns)


def event_rows(metered: MeteredItem) -> list[tuple[Any, ...]]:
    item = metered.item.item_id
    return [
        (
            "s",
            event.name,
            event.time,
            item,
            item,
            decimal(event.quantity),
            "{}" if event.property is None else f'{{"user": "{event.property}"}}',
            in_millionths(event.quantity),
        )
        for event in metered.usage
    ]
