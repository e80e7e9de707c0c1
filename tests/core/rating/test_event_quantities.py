"""What events count for and add up to, to the last digit, whatever their size."""

from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.rating.reference import Item, counted
from tests.core.rating.test_engine_equals_reference import (
    MIDNIGHT_UTC,
    decimal,
    in_millionths,
    register,
)

from counterfoil.core.rating.quantities import EventSource, metered, usage_epoch
from counterfoil.core.rating.relations import MIDNIGHT, USAGE
from counterfoil.platform.engine.duck import NotComputable, open_engine

START, END = date(2024, 1, 1), date(2024, 2, 1)
LARGEST = Fraction(10**23) - Fraction(1, 10**15)

# Whole and fractional, on both sides of every border there is, up to the limits.
BORDERS = [
    Fraction(text) for text in ("0", "1", "60", "1e6", "999999999999", "1e12", "1e15", "1e19")
]
STEPS = [Fraction(text) for text in ("0", "1", "0.5", "1e-6", "1e-7", "1e-15")]
QUANTITIES = st.one_of(
    st.integers(0, 4000).map(Fraction),
    st.integers(1, 4 * 10**9).map(lambda n: Fraction(n, 10**6)),
    st.integers(1, 4 * 10**18).map(lambda n: Fraction(n, 10**15)),
    st.integers(0, 10**36).map(lambda n: Fraction(n, 10**15)),
    st.builds(lambda border, step: border + step, *map(st.sampled_from, (BORDERS, STEPS))),
    st.builds(lambda border, step: border - step, *map(st.sampled_from, (BORDERS, STEPS))),
)
SIGNED = st.builds(lambda quantity, sign: quantity * sign, QUANTITIES, st.sampled_from([1, 1, -1]))
MINIMUMS = st.none() | st.sampled_from([Fraction(0), Fraction(30)]) | QUANTITIES.map(abs)
INCREMENTS = (
    st.none()
    | st.sampled_from([Fraction(text) for text in ("1", "60", "0.1", "7", "1e-6", "0.333333")])
    | QUANTITIES.map(abs).filter(bool)
)


@dataclass(frozen=True)
class Metered:
    """A usage item and the quantities of its events."""

    item: Item
    quantities: list[Fraction]


@st.composite
def cases(draw: Any) -> list[Metered]:
    return [
        Metered(
            Item(
                *(number, "usage", 2, START, END, START, END),
                event_minimum=draw(MINIMUMS),
                event_increment=draw(INCREMENTS),
            ),
            draw(st.lists(SIGNED, max_size=12)),
        )
        for number in range(1, draw(st.integers(1, 8)) + 1)
    ]


@given(cases())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_events_add_up_to_what_the_reference_counts(case: list[Metered]) -> None:
    expected = [
        (
            one.item.item_id,
            len(one.quantities),
            sum((counted(one.item, q) for q in one.quantities if q > 0), Fraction(0)),
            max(one.quantities),
        )
        for one in case
        if one.quantities
    ]
    assert measured(case, millionths=True) == expected
    assert measured(case, millionths=False) == expected


def measured(case: list[Metered], *, millionths: bool) -> list[tuple[int, int, Fraction, Fraction]]:
    """Item, number of events, what the positive ones add up to, and the highest. Beside it the
    quantities are given in millionths, or not."""
    with open_engine(threads=1) as engine:
        items = [one.item for one in case]
        kind = pa.decimal128(38, 15)
        engine.register(
            "charge_item",
            pa.table(
                {
                    "item_id": [i.item_id for i in items],
                    "subscription_id": [i.item_id for i in items],
                    "meter_id": [i.item_id for i in items],
                    "kind": ["usage" for _ in items],
                    "aggregation": ["sum" for _ in items],
                    "time_zone": ["UTC" for _ in items],
                    "by_event": [False for _ in items],
                    "pool_id": pa.nulls(len(items), pa.int64()),
                    "unit_size": [1 for _ in items],
                    "event_minimum": pa.array([decimal(i.event_minimum) for i in items], kind),
                    "event_increment": pa.array([decimal(i.event_increment) for i in items], kind),
                }
            ),
        )
        engine.run(
            "CREATE TABLE price_epoch AS SELECT item_id, 1 AS epoch_no, 1 AS terms_id, "
            f"DATE '{START}' AS epoch_start, DATE '{END}' AS epoch_end FROM charge_item"
        )
        register(
            engine,
            MIDNIGHT,
            [("UTC", day, datetime.combine(day, time.min)) for day in (START, END)],
        )
        register(
            engine,
            USAGE,
            [
                (
                    *("s", str(number), MIDNIGHT_UTC, one.item.item_id, one.item.item_id),
                    *(decimal(quantity), "{}", in_millionths(quantity)),
                )
                for one in case
                for number, quantity in enumerate(one.quantities)
            ],
        )
        engine.run(usage_epoch(millionths=millionths).create)
        (statement, _) = metered(EventSource(), anew=False, millionths=millionths)
        engine.run(statement.create)
        rows = engine.rows(
            "SELECT item_id, events, coalesce(summed, 0), highest FROM metered ORDER BY item_id"
        )
    return [(item, events, Fraction(total), Fraction(high)) for item, events, total, high in rows]


def one_event(quantity: Fraction, increment: str | None = None) -> Fraction:
    """What a single event comes to."""
    item = Item(
        *(1, "usage", 2, START, END, START, END),
        event_increment=None if increment is None else Fraction(Decimal(increment)),
    )
    return measured([Metered(item, [quantity])], millionths=True)[0][2]


def test_the_largest_quantity_counts_in_full() -> None:
    assert one_event(LARGEST) == LARGEST
    assert one_event(LARGEST, "0.000000000000003") == LARGEST


def test_what_is_rounded_up_beyond_38_digits_is_refused() -> None:
    with pytest.raises(NotComputable):
        one_event(LARGEST, "10")
