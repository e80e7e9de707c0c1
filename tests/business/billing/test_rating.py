"""What items and prices are found to use: what they do not use is not computed."""

import pytest

from counterfoil.business.billing.rating import find_needs
from counterfoil.core.rating.formula_values import FORMULA_INPUTS
from counterfoil.core.rating.relations import (
    ALLOWANCE,
    BILLED_USAGE,
    CELL_CONDITION,
    CELL_WINDOW,
    CHARGE_ITEM,
    METER_FILTER,
    PRICE,
    PRICE_CELL,
    PRICE_LAYER,
    PRICE_TIER,
)
from counterfoil.core.rating.statements import Needs
from counterfoil.platform.engine.duck import open_engine

# One charge is served in October, another one from the 10th to the 20th.
ITEMS = """
INSERT INTO charge_item BY NAME
SELECT 'usage' AS kind, 'UTC' AS time_zone, 'sum' AS aggregation, false AS stood,
       false AS carried_over, 'exact' AS unit_rounding, false AS by_event, false AS by_second,
       served_from AS counted_from, served_from AS service_start, served_to AS service_end,
       served_to AS pricing_end
FROM (VALUES (DATE '2026-10-01', DATE '2026-11-01'),
             (DATE '2026-10-10', DATE '2026-10-20')) t(served_from, served_to)
"""
PRICES = """
INSERT INTO price BY NAME
SELECT 'list' AS layer, '{model}' AS model, 0 AS included_quantity, false AS partial,
       {first} AS valid_from, {end} AS valid_to
"""
LAYERS = (
    "INSERT INTO price_layer BY NAME "
    "SELECT 'list' AS layer, {first} AS valid_from, {end} AS valid_to"
)


def found(model: str = "per_unit", price: tuple[str, str] = ("NULL", "NULL"), layer=None) -> Needs:
    with open_engine(threads=1) as engine:
        shapes = (METER_FILTER, PRICE_CELL, CELL_CONDITION, CELL_WINDOW, ALLOWANCE, BILLED_USAGE)
        for shape in (*shapes, *FORMULA_INPUTS, CHARGE_ITEM, PRICE, PRICE_TIER, PRICE_LAYER):
            engine.run(f"CREATE TABLE {shape.name} AS {shape.nothing}")
        engine.run(ITEMS)
        engine.run(PRICES.format(model=model, first=price[0], end=price[1]))
        first, end = layer or ("NULL", "NULL")
        engine.run(LAYERS.format(first=first, end=end))
        return find_needs(engine)


@pytest.mark.parametrize(
    ("first", "end", "steady"),
    [
        ("NULL", "NULL", True),
        ("DATE '2026-10-01'", "DATE '2026-11-01'", True),
        ("DATE '2026-11-01'", "NULL", True),
        ("NULL", "DATE '2026-10-01'", True),
        ("DATE '2026-10-02'", "NULL", False),
        ("NULL", "DATE '2026-10-31'", False),
    ],
)
def test_prices_are_steady_that_do_not_change_while_something_is_served(first, end, steady):
    assert found(price=(first, end)).steady is steady
    assert found(layer=(first, end)).steady is steady


@pytest.mark.parametrize(
    ("model", "bands"), [("graduated", False), ("volume", True), ("stairstep", True)]
)
def test_bands_are_needed_where_one_tier_prices_all(model, bands):
    assert found(model).bands is bands


def test_what_no_price_has_is_not_needed():
    needs = found()
    assert (needs.included, needs.packages, needs.bounds, needs.partials) == (False,) * 4
