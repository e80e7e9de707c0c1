"""The engine's statements against the slow reference, on generated, tie-heavy books and usage."""

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.rating.reference import Billed, Item, Price, Rated, Tier, half_up, rate

from counterfoil.core.rating.layers import SPECIFICITY
from counterfoil.core.rating.relations import (
    BILLED_USAGE,
    CELL_CONDITION,
    CELL_WINDOW,
    CHARGE_ITEM,
    METER_FILTER,
    MIDNIGHT,
    PRICE,
    PRICE_CELL,
    PRICE_LAYER,
    PRICE_TIER,
    USAGE,
    Relation,
)
from counterfoil.core.rating.statements import Needs, price_statements, rating_statements
from counterfoil.platform.engine.duck import Engine, open_engine

FIRST = date(2024, 1, 1)
# Layer and owner, how much less specific it is than the nearest of its layer, and on which days of
# the cycle it is looked at.
LAYER_ROWS = [
    ("list", 0, 0, None, None),
    ("template", 5, 0, 10, 20),
    ("template", 6, 1, 10, 20),
    ("template", 6, 0, 20, None),
    ("account", 8, 1, None, None),
    ("account", 9, 0, None, None),
]
ITEM_OWNERS = {"region": 2, "site": 3, "contact": 4, "contract": 7}
OWNERS = sorted({row[:2] for row in LAYER_ROWS} | set(ITEM_OWNERS.items()) | {("subscription", 1)})


def rank(layer: str, owner: int, day: date) -> int:
    """How specific a layer's owner is for every item on a day; 0 where it is not looked at."""
    if (layer, owner) not in LAYER_DAYS:
        return SPECIFICITY[layer]
    passed = (day - FIRST).days
    return max(
        (
            SPECIFICITY[layer] - less
            for less, first, end in LAYER_DAYS[layer, owner]
            if (first or 0) <= passed and (end is None or passed < end)
        ),
        default=0,
    )


LAYER_DAYS = {
    (layer, owner): [row[2:] for row in LAYER_ROWS if row[:2] == (layer, owner)]
    for layer, owner, *_ in LAYER_ROWS
}
MIDNIGHT_UTC = datetime.combine(FIRST, time.min)

# Amounts with exact half-cent ties, and unit sizes that do not divide.
UNIT_AMOUNTS = st.sampled_from(
    ["0", "0.005", "0.0125", "0.22", "1", "249.95", "0.0000004", "33.335"]
)
# Bounds that quantities meet exactly.
BOUNDS = st.lists(st.sampled_from([1, 3, 10, 40]), max_size=3, unique=True).map(sorted)


TIERED = ("graduated", "volume", "stairstep", "graduated_percentage")


@st.composite
def tiers(draw: Any, model: str) -> tuple[Tier, ...]:
    bounds = draw(BOUNDS) if model in TIERED else []
    starts = [0, *bounds]
    ends = [*bounds, None]
    made = []
    for start, end in zip(starts, ends, strict=True):
        unit = "0" if model in ("flat", "stairstep") else draw(UNIT_AMOUNTS)
        flat = draw(UNIT_AMOUNTS) if model in ("flat", *TIERED) else "0"
        made.append(
            Tier(
                Fraction(start),
                None if end is None else Fraction(end),
                Fraction(unit),
                Fraction(flat),
            )
        )
    return tuple(made)


@st.composite
def prices(draw: Any) -> list[Price]:
    """A list price that always holds, and others in all layers with their own validity."""
    if draw(st.booleans()):
        return draw(prices_with_parts())
    book = []
    for number in range(draw(st.integers(1, 6))):
        layer, owner = ("list", 0) if number == 0 else draw(st.sampled_from(OWNERS))
        model = draw(st.sampled_from(["flat", "per_unit", *TIERED, "package", "percentage"]))
        valid_from = valid_to = None
        if number > 0:
            start = draw(st.integers(0, 40))
            valid_from = FIRST + timedelta(days=start)
            valid_to = valid_from + timedelta(days=draw(st.integers(1, 30)))
        packed = model == "package" or (model in ("graduated", "volume") and draw(st.booleans()))
        size = Fraction(draw(st.sampled_from(["1", "2.5", "10"]))) if packed else None
        book.append(
            Price(
                number + 1,
                layer,
                owner,
                valid_from,
                valid_to,
                model,
                size,
                Fraction(draw(st.sampled_from(["0", "0", "3", "7.25"]))),
                draw(tiers(model)),
            )
        )
    return _without_overlaps(book)


@st.composite
def prices_with_parts(draw: Any) -> list[Price]:
    """Prices of one model with the same tiers, some of which set only a few of these."""
    model = draw(st.sampled_from(["per_unit", "graduated", "volume"]))
    bands = draw(tiers(model))
    book = []
    for number in range(draw(st.integers(2, 8))):
        layer, owner = ("list", 0) if number == 0 else draw(st.sampled_from(OWNERS))
        partial = number > 0 and draw(st.booleans())
        start = FIRST + timedelta(days=draw(st.integers(0, 40)))
        end = start + timedelta(days=draw(st.integers(1, 30)))
        own = [
            replace(band, unit_amount=Fraction(draw(UNIT_AMOUNTS)))
            for band in bands
            if not partial or draw(st.booleans())
        ]
        book.append(
            Price(
                number + 1,
                layer,
                owner,
                start if number else None,
                end if number else None,
                model,
                None,
                Fraction(0 if partial else draw(st.sampled_from([0, 3]))),
                tuple(own),
                partial=partial,
            )
        )
    return _without_overlaps([price for price in book if price.tiers])


def _without_overlaps(book: list[Price]) -> list[Price]:
    kept: list[Price] = []
    for price in book:
        key = (price.layer, price.owner_id, price.partial)
        same = [p for p in kept if (p.layer, p.owner_id, p.partial) == key]
        if all(
            p.valid_to is not None
            and price.valid_from is not None
            and price.valid_to is not None
            and p.valid_from is not None
            and (p.valid_to <= price.valid_from or price.valid_to <= p.valid_from)
            for p in same
        ):
            kept.append(price)
    return kept


@st.composite
def items(draw: Any, item_id: int) -> Item:
    kind = draw(st.sampled_from(["usage", "usage", "recurring", "one_time"]))
    cycle_end = FIRST + timedelta(days=draw(st.sampled_from([7, 29, 30, 31])))
    length = (cycle_end - FIRST).days
    offset = draw(st.integers(0, length - 1))
    start = FIRST + timedelta(days=offset)
    end = start + timedelta(days=1 if kind == "one_time" else draw(st.integers(1, length - offset)))
    digits = draw(st.sampled_from([0, 2, 2, 3]))
    if kind != "usage":
        prorated = kind == "recurring" and draw(st.booleans())
        quantity = Fraction(draw(st.sampled_from(["1", "3", "2.5", "40", "0"])))
        return Item(
            item_id,
            kind,
            digits,
            FIRST,
            cycle_end,
            start,
            end,
            quantity,
            prorated,
            one_price=not prorated,
        )
    moments = draw(
        st.lists(
            st.tuples(
                st.integers(0, length * 24 - 1), st.integers(0, 400).map(lambda n: Fraction(n, 2))
            ),
            max_size=8,
        )
    )
    events = tuple((MIDNIGHT_UTC + timedelta(hours=h), q) for h, q in moments)
    billed = ()
    if draw(st.booleans()) and draw(st.booleans()):
        until = start + timedelta(days=draw(st.integers(1, (end - start).days)))
        exact = Fraction(draw(st.sampled_from(["0", "0.125", "2.375", "7.0004", "12"])))
        billed = (
            Billed(
                start,
                until,
                1,
                Fraction(draw(st.integers(0, 30))),
                exact,
                Fraction(half_up(exact, digits)),
            ),
        )
    return Item(
        item_id,
        kind,
        digits,
        FIRST,
        cycle_end,
        start,
        end,
        aggregation=draw(st.sampled_from(["sum", "sum", "count", "max"])),
        event_minimum=draw(st.sampled_from([None, Fraction(30)])),
        event_increment=draw(st.sampled_from([None, Fraction(60), Fraction(6), Fraction("0.1")])),
        unit_size=draw(st.sampled_from([1, 60, 7])),
        events=events,
        billed=billed,
    )


@st.composite
def cases(draw: Any) -> tuple[list[Item], dict[int, list[Price]]]:
    chosen = [draw(items(number + 1)) for number in range(draw(st.integers(1, 6)))]
    return chosen, {item.item_id: draw(prices()) for item in chosen}


@given(cases())
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_engine_gives_what_the_reference_gives(
    case: tuple[list[Item], dict[int, list[Price]]],
) -> None:
    chosen, books = case
    expected = [row for item in chosen for row in rate(item, books[item.item_id], rank)]
    everything = Needs(partials=used_by(chosen, books).partials)
    for needs in (everything, used_by(chosen, books)):
        with open_engine(threads=1) as engine:
            assert rate_with_engine(engine, chosen, books, needs) == expected


@given(cases())
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_prices_that_always_hold_need_no_epochs(
    case: tuple[list[Item], dict[int, list[Price]]],
) -> None:
    chosen = [replace(item, billed=()) for item in case[0]]
    books = {number: _always(book) for number, book in case[1].items()}
    expected = [row for item in chosen for row in rate(item, books[item.item_id], rank)]
    needs = replace(used_by(chosen, books), steady=True)
    with open_engine(threads=1) as engine:
        assert rate_with_engine(engine, chosen, books, needs) == expected


def _always(book: list[Price]) -> list[Price]:
    """The prices, without beginning and end, of the layers that have neither."""
    return _without_overlaps(
        [
            replace(price, valid_from=None, valid_to=None)
            for price in book
            if not any(any(days) for _, *days in LAYER_DAYS.get((price.layer, price.owner_id), ()))
        ]
    )


def used_by(chosen: list[Item], books: dict[int, list[Price]]) -> Needs:
    """What the few items and their prices use and nothing else, but that prices may change; all
    have tiers without end."""
    priced = [price for book in books.values() for price in book]
    return Needs(
        partials=any(price.partial for price in priced),
        packages=any(price.package_size for price in priced),
        bands=any(price.model in ("volume", "stairstep") for price in priced),
        included=any(price.included for price in priced),
        kinds=frozenset(item.kind for item in chosen),
        late=any(item.billed for item in chosen),
        peaks=any(item.aggregation == "max" for item in chosen),
        covered=True,
        few=True,
    )


def rate_with_engine(
    engine: Engine, chosen: list[Item], books: dict[int, list[Price]], needs: Needs
) -> list[Rated]:
    load(engine, chosen, books)
    for statement in price_statements(needs):
        engine.run(statement.create)
    engine.run(
        "CREATE TABLE midnight AS SELECT DISTINCT 'UTC' AS time_zone, d AS day, "
        "CAST(d AS TIMESTAMP) AS instant FROM (SELECT epoch_start AS d FROM price_epoch "
        "UNION SELECT epoch_end FROM price_epoch)"
    )
    for statement in rating_statements(needs):
        engine.run(statement.create)
    rows = engine.rows(
        "SELECT r.item_id, r.service_start, r.service_end, r.price_id % 100, r.quantity, "
        "r.exact_amount, r.amount, i.minor_digits "
        "FROM rated r JOIN charge_item i USING (item_id) ORDER BY r.item_id, r.epoch_no"
    )
    return [
        Rated(
            r[0],
            r[1],
            r[2],
            r[3],
            Fraction(r[4]),
            r[5].quantize(Decimal("1e-15")),
            r[6].quantize(Decimal(1).scaleb(-r[7])),
        )
        for r in rows
    ]


def load(engine: Engine, chosen: list[Item], books: dict[int, list[Price]]) -> None:
    """Every item is its own charge, subscription and meter; price ids are item * 100 + number."""
    for relation in (METER_FILTER, PRICE_CELL, CELL_CONDITION, CELL_WINDOW):
        register(engine, relation, [])
    register(
        engine,
        CHARGE_ITEM,
        [
            (
                i.item_id,
                i.item_id,
                i.item_id,
                9,
                i.item_id,
                i.kind,
                "USD",
                i.minor_digits,
                "UTC",
                i.cycle_start,
                i.cycle_end,
                i.service_start,
                i.service_end,
                i.service_start + timedelta(days=1) if i.one_price else i.service_end,
                decimal(i.quantity),
                i.prorated,
                False,
                i.item_id,
                i.aggregation,
                decimal(i.event_minimum),
                decimal(i.event_increment),
                i.unit_size,
                "exact",
                None,
                None,
                None,
                False,
                False,
                "UTC",
                i.service_start,
                False,
                None,
                False,
                *ITEM_OWNERS.values(),
            )
            for i in chosen
        ],
    )
    all_prices = [(i, p) for i, book in books.items() for p in book]
    register(
        engine,
        PRICE,
        [
            (
                i * 100 + p.price_id,
                i,
                "USD",
                p.layer,
                i if p.layer == "subscription" else p.owner_id,
                p.valid_from,
                p.valid_to,
                p.model,
                decimal(p.package_size),
                decimal(p.included),
                p.partial,
            )
            for i, p in all_prices
        ],
    )
    register(
        engine,
        PRICE_TIER,
        [
            (
                i * 100 + p.price_id,
                0,
                decimal(t.start),
                decimal(t.up_to),
                decimal(t.unit_amount),
                decimal(t.flat_amount),
            )
            for i, p in all_prices
            for t in p.tiers
        ],
    )
    register(
        engine,
        PRICE_LAYER,
        [
            (9, layer, owner, SPECIFICITY[layer] - less, day_of(first), day_of(end))
            for layer, owner, less, first, end in LAYER_ROWS
        ],
    )
    register(
        engine,
        USAGE,
        [
            (
                *("s", f"{i.item_id}-{n}", at, i.item_id, i.item_id),
                *(decimal(q), "{}", in_millionths(q)),
            )
            for i in chosen
            for n, (at, q) in enumerate(i.events)
        ],
    )
    register(
        engine,
        BILLED_USAGE,
        [
            (
                i.item_id,
                b.start,
                b.end,
                i.item_id * 100 + b.price_id,
                "list",
                None,
                decimal(b.quantity),
                decimal(b.exact_amount),
                decimal(b.exact_amount),
                decimal(b.amount),
            )
            for i in chosen
            for b in i.billed
        ],
    )


def day_of(number: int | None) -> date | None:
    return None if number is None else FIRST + timedelta(days=number)


def decimal(value: Fraction | None) -> Decimal | None:
    with localcontext(prec=60):
        return None if value is None else Decimal(value.numerator) / Decimal(value.denominator)


def in_millionths(quantity: Fraction) -> int | None:
    """What a segment holds beside the quantity of an event."""
    count = quantity * 10**6
    return int(count) if count.denominator == 1 and abs(count) < 10**18 else None


TYPES = {
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "VARCHAR": pa.string(),
    "DATE": pa.date32(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us"),
    "BIGINT[]": pa.list_(pa.int64()),
}


def _given(row: tuple[Any, ...], position: int) -> Any:
    """A column at the end of which a test says nothing is null."""
    return row[position] if position < len(row) else None


def register(engine: Engine, relation: Relation, rows: list[tuple[Any, ...]]) -> None:
    arrays = {}
    for position, (name, kind) in enumerate(relation.columns.items()):
        if kind.startswith("DECIMAL"):
            precision, scale = kind[8:-1].split(",")
            arrow = pa.decimal128(int(precision), int(scale))
        else:
            arrow = TYPES[kind]
        arrays[name] = pa.array([_given(row, position) for row in rows], arrow)
    engine.register(relation.name, pa.table(arrays))


def test_relation_names_are_those_the_statements_read() -> None:
    statements = (*price_statements(Needs(partials=True)), *rating_statements(Needs()))
    text = " ".join(statement.sql for statement in statements)
    for relation in (CHARGE_ITEM, PRICE, PRICE_TIER, PRICE_LAYER, MIDNIGHT, USAGE, BILLED_USAGE):
        assert relation.name in text
