"""Matrix prices against a slow reference: which cell an event falls into, and what that costs."""

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.rating.reference import Item, Price, Tier, cost, counted, half_up
from tests.core.rating.test_engine_equals_reference import (
    FIRST,
    decimal,
    load,
    register,
    tiers,
)
from tests.core.rating.test_meters import MeteredItem, item_row

from counterfoil.business.billing.rating import find_needs
from counterfoil.core.rating.relations import (
    CELL_CONDITION,
    CELL_WINDOW,
    CHARGE_ITEM,
    PRICE_CELL,
    PRICE_TIER,
    USAGE,
)
from counterfoil.core.rating.statements import price_statements, rating_statements
from counterfoil.platform.engine.duck import open_engine

ZONE = "Europe/Berlin"
EXACT = 1000
"""An exact value is longer than any prefix."""


@dataclass(frozen=True)
class Cell:
    """What a cell asks for, and its tiers. ``windows``: weekday from 1, and minutes of the day."""

    values: dict[str, tuple[str, ...]]
    prefixes: dict[str, tuple[str, ...]]
    windows: tuple[tuple[int, int, int], ...]
    tiers: tuple[Tier, ...]


@dataclass(frozen=True)
class Call:
    time: datetime
    quantity: Fraction
    attributes: dict[str, str]


# Few, so that several cells hold a call; and moments at which hours begin and end.
NUMBERS = st.sampled_from(["3", "34", "345", "346", "4"])
HOURS = [0, 360, 480, 1080]


@st.composite
def cells(draw: Any, model: str) -> Cell:
    values, prefixes, windows = {}, {}, ()
    asked = draw(st.sampled_from(["access", "number", "number", "hours", "access number", "all"]))
    if "access" in asked or asked == "all":
        values["access"] = (draw(st.sampled_from(["pstn", "voip"])),)
    if "number" in asked or asked == "all":
        kind = draw(st.sampled_from([values, prefixes, prefixes]))
        kind["number"] = tuple(draw(st.lists(NUMBERS, min_size=1, max_size=2)))
    if asked in ("hours", "all"):
        minutes = st.sampled_from(HOURS)
        window = st.tuples(st.integers(1, 3), minutes, minutes)
        windows = tuple(draw(st.lists(window, min_size=1, max_size=4)))
    return Cell(values, prefixes, windows, draw(plain_tiers(model)))


@st.composite
def plain_tiers(draw: Any, model: str) -> tuple[Tier, ...]:
    """Tiers without flat amounts, which differ from those of other cells."""
    price = Fraction(draw(st.integers(1, 10**6)), 10**6)
    return tuple(
        replace(tier, unit_amount=tier.unit_amount + price, flat_amount=Fraction(0))
        for tier in draw(tiers(model))
    )


@st.composite
def calls(draw: Any) -> Call:
    attributes = {}
    if draw(st.integers(0, 3)):
        attributes["access"] = draw(st.sampled_from(["pstn", "voip", "voip"]))
    if draw(st.integers(0, 3)):
        attributes["number"] = draw(NUMBERS)
    day, minute = draw(st.integers(1, 3)), draw(st.sampled_from(HOURS))
    local = datetime.combine(FIRST, time.min, ZoneInfo(ZONE)) + timedelta(days=day, minutes=minute)
    moment = (local - draw(st.sampled_from([timedelta(0), timedelta(microseconds=1)]))).astimezone(
        ZoneInfo("UTC")
    )
    moment = moment.replace(tzinfo=None)
    return Call(moment, draw(st.integers(1, 400).map(lambda n: Fraction(n, 2))), attributes)


@st.composite
def cases(draw: Any) -> tuple[Item, str, list[Cell], tuple[Tier, ...] | None, list[Call]]:
    model = draw(st.sampled_from(["per_unit", "graduated", "volume"]))
    item = Item(
        1,
        "usage",
        draw(st.sampled_from([0, 2, 3])),
        FIRST,
        FIRST + timedelta(days=31),
        FIRST,
        FIRST + timedelta(days=31),
        event_minimum=draw(st.sampled_from([None, Fraction(30)])),
        event_increment=draw(st.sampled_from([None, Fraction(60), Fraction("0.1")])),
        unit_size=draw(st.sampled_from([1, 60, 7])),
    )
    matrix = draw(st.lists(cells(model), min_size=2, max_size=6))
    rest = draw(st.one_of(st.none(), plain_tiers(model)))
    return item, model, matrix, rest, draw(st.lists(calls(), min_size=4, max_size=10))


def weights(cell: Cell, call: Call) -> list[int] | None:
    """How much each of the cell's conditions weighs for a call that meets all of them."""
    found: list[int] = []
    for name, values in cell.values.items():
        if call.attributes.get(name) not in values:
            return None
        found.append(EXACT)
    for name, prefixes in cell.prefixes.items():
        met = [len(one) for one in prefixes if call.attributes.get(name, "").startswith(one)]
        if not met:
            return None
        found.append(max(met))
    if cell.windows:
        local = call.time.replace(tzinfo=ZoneInfo("UTC")).astimezone(ZoneInfo(ZONE))
        if not any(open_at(window, local) for window in cell.windows):
            return None
        found.append(EXACT)
    return found


def open_at(window: tuple[int, int, int], local: datetime) -> bool:
    weekday, begins, ends = window
    minute = local.hour * 60 + local.minute
    held = begins <= minute < ends if begins < ends else minute >= begins or minute < ends
    return weekday == local.isoweekday() and held


def falls_into(call: Call, matrix: list[Cell]) -> int:
    """The number of the cell, from 1; 0 for the rest."""
    held = [(number, weights(cell, call)) for number, cell in enumerate(matrix, start=1)]
    ranked = [(len(found), sum(found), -number) for number, found in held if found is not None]
    return -max(ranked)[2] if ranked else 0


def expected(
    item: Item, model: str, matrix: list[Cell], rest: tuple[Tier, ...] | None, usage: list[Call]
) -> list[tuple[Fraction, Decimal, Decimal]] | None:
    """Quantity, exact and rounded amount; None where no cell holds an event."""
    by_cell: dict[int, Fraction] = {}
    for call in usage:
        number = falls_into(call, matrix)
        if number == 0 and rest is None:
            return None
        by_cell[number] = by_cell.get(number, Fraction(0)) + counted(item, call.quantity)
    bands = {number: matrix[number - 1].tiers if number else rest or () for number in by_cell}
    return together(item, model, [(bands[number], by_cell[number]) for number in by_cell])


def together(
    item: Item, model: str, parts: list[tuple[tuple[Tier, ...], Fraction]]
) -> list[tuple[Fraction, Decimal, Decimal]]:
    """What the parts of an item's meter units come to, each by its own tiers."""
    quantity = amount = Fraction(0)
    for band, meter_units in parts:
        price = Price(1, "list", 0, None, None, model, None, Fraction(0), band)
        units = Fraction(half_up(meter_units / item.unit_size, 15))
        quantity += units
        amount += cost(price, units)
    return [(quantity, half_up(amount, 15), half_up(amount, item.minor_digits))]


@given(cases())
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_cells_cost_what_the_reference_says(
    case: tuple[Item, str, list[Cell], tuple[Tier, ...] | None, list[Call]],
) -> None:
    assert rated(*case) == expected(*case)


@given(cases())
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_groups_cost_what_each_value_costs_by_itself(
    case: tuple[Item, str, list[Cell], tuple[Tier, ...] | None, list[Call]],
) -> None:
    item, model, matrix, rest, usage = case
    band = rest or matrix[0].tiers
    groups: dict[str | None, Fraction] = {}
    for call in usage:
        value = call.attributes.get("number")
        groups[value] = groups.get(value, Fraction(0)) + counted(item, call.quantity)
    wanted = together(item, model, [(band, units) for units in groups.values()])
    assert rated(item, model, [], band, usage, group_by="number") == wanted


def rated(
    item: Item,
    model: str,
    matrix: list[Cell],
    rest: tuple[Tier, ...] | None,
    usage: list[Call],
    group_by: str | None = None,
) -> list[tuple[Fraction, Decimal, Decimal]] | None:
    """What the engine makes of it; None where it says that no cell holds an event."""
    price = Price(1, "list", 0, None, None, model, None, Fraction(0), rest or ())
    metered = MeteredItem(item, "sum", (), counted_from=FIRST)
    with open_engine(threads=1) as engine:
        load(engine, [item], {1: [price]})
        engine.run("CREATE TABLE allowance AS SELECT 0::BIGINT AS draw_rank WHERE false")
        row = dict(zip(CHARGE_ITEM.columns, item_row(metered), strict=True))
        row |= {
            "usage_zone": ZONE,
            "event_minimum": decimal(item.event_minimum),
            "event_increment": decimal(item.event_increment),
        }
        register(engine, CHARGE_ITEM, [tuple(row.values())])
        groups = [(1, -1, None)] if group_by else []
        register(
            engine, PRICE_CELL, [*groups, *((1, n, f"cell {n}") for n, _ in enumerate(matrix, 1))]
        )
        register(
            engine,
            CELL_CONDITION,
            [
                (1, n, name, asked is cell.prefixes, value)
                for n, cell in enumerate(matrix, 1)
                for asked in (cell.values, cell.prefixes)
                for name, values in asked.items()
                for value in dict.fromkeys(values)
            ]
            + [(1, -1, group_by, False, None) for _ in groups],
        )
        register(
            engine,
            CELL_WINDOW,
            [(1, n, *window) for n, cell in enumerate(matrix, 1) for window in cell.windows],
        )
        register(
            engine,
            PRICE_TIER,
            [
                (101, n, *map(decimal, (t.start, t.up_to, t.unit_amount, t.flat_amount)))
                for n, band in enumerate([rest or (), *(cell.tiers for cell in matrix)])
                for t in band
            ],
        )
        register(
            engine,
            USAGE,
            [
                ("s", str(n), call.time, 1, 1, decimal(call.quantity), json_of(call.attributes))
                for n, call in enumerate(usage)
            ],
        )
        needs = find_needs(engine)
        for statement in price_statements(needs):
            engine.run(statement.create)
        engine.run(
            "CREATE TABLE midnight AS SELECT 'UTC' AS time_zone, CAST(t AS DATE) AS day, t AS "
            "instant FROM range(TIMESTAMP '2023-12-01', TIMESTAMP '2024-03-01', INTERVAL 1 DAY) "
            "r(t)"
        )
        for statement in rating_statements(needs):
            engine.run(statement.create)
        if engine.rows("SELECT 1 FROM unmatched LIMIT 1"):
            return None
        rows = engine.rows("SELECT quantity, exact_amount, amount FROM rated")
    return [
        (
            Fraction(quantity),
            exact.quantize(Decimal("1e-15")),
            amount.quantize(Decimal(1).scaleb(-item.minor_digits)),
        )
        for quantity, exact, amount in rows
    ]


def json_of(attributes: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{name}": "{value}"' for name, value in attributes.items()) + "}"
