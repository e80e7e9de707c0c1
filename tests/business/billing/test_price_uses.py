"""What prices are found to use by their tables alone."""

from datetime import date
from decimal import Decimal

import pyarrow as pa
import pytest

from counterfoil.business.billing.price_uses import PriceUses, price_uses

DAYS = {"valid_from": pa.date32(), "valid_to": pa.date32()}
PRICES = pa.schema(
    {
        "price_id": pa.int64(),
        "layer": pa.string(),
        "model": pa.string(),
        "package_size": pa.decimal128(28, 6),
        "included_quantity": pa.decimal128(38, 15),
        "partial": pa.bool_(),
        "minimum_amount": pa.decimal128(20, 4),
        "maximum_amount": pa.decimal128(20, 4),
        **DAYS,
    }
)
TIERS = pa.schema(
    {
        "price_id": pa.int64(),
        "cell_no": pa.int64(),
        "from_quantity": pa.decimal128(28, 6),
        "up_to": pa.decimal128(28, 6),
    }
)
PRICE = {
    "price_id": 1,
    "layer": "list",
    "model": "graduated",
    "included_quantity": Decimal(0),
    "partial": False,
}


def found(*tiers: tuple[int, int, int, int | None], **price: object) -> PriceUses:
    """Of one price, and of its tiers: price, cell, from where and up to where."""
    rows = [dict(zip(TIERS.names, tier, strict=True)) for tier in tiers]
    for row in rows:
        row |= {
            name: None if row[name] is None else Decimal(row[name])
            for name in ("from_quantity", "up_to")
        }
    return price_uses(
        pa.Table.from_pylist([PRICE | price], PRICES),
        pa.Table.from_pylist(rows, TIERS),
        pa.table({name: pa.array([None], kind) for name, kind in DAYS.items()}),
        date(2026, 10, 1),
        date(2026, 11, 1),
    )


@pytest.mark.parametrize(
    ("tiers", "covered"),
    [
        ([(1, 0, 0, None)], True),
        ([(1, 0, 0, 100), (1, 0, 100, 500), (1, 0, 500, None)], True),
        ([(1, 0, 500, None), (1, 0, 0, 500)], True),
        ([(1, 0, 0, 100)], False),
        ([(1, 0, 0, 100), (1, 0, 200, None)], False),
        ([(1, 0, 10, None)], False),
        ([(1, 0, 0, None), (1, 2, 0, 100)], False),
        ([(1, 2, 0, None)], False),
        ([(2, 0, 0, None)], False),
        ([], False),
    ],
)
def test_a_price_is_covered_by_tiers_without_gap_or_end(tiers, covered):
    assert found(*tiers).covered is covered


def test_a_partial_price_has_tiers_of_others_too():
    assert not found((1, 0, 0, None), partial=True).covered


@pytest.mark.parametrize("name", ["minimum_amount", "maximum_amount"])
def test_a_minimum_or_maximum_is_a_bound(name):
    assert found(**{name: Decimal("10.0000")}).bounds
    assert not found().bounds


def test_what_a_price_includes_and_packs_is_found():
    assert found(included_quantity=Decimal(30)).included
    assert found(package_size=Decimal(100)).packages
    assert found(layer="account").layers == {"account"}


@pytest.mark.parametrize(
    ("day", "steady"),
    [(date(2026, 10, 1), True), (date(2026, 10, 2), False), (date(2026, 11, 1), True)],
)
def test_a_price_that_begins_meanwhile_is_not_steady(day, steady):
    assert found(valid_from=day).steady is steady
