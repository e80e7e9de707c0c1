"""What an agreed price takes off another price: the greatest percentage of its parts."""

from decimal import Decimal

import pytest

from counterfoil.business.products.agreed_prices import both_off, percent_off
from counterfoil.business.products.price_terms import parse_price


@pytest.mark.parametrize(
    ("price", "agreed", "percent"),
    [
        ("{model: per_unit, amount: 250}", "200", "20"),
        ("{model: per_unit, amount: 250}", "250", "0"),
        ("{model: per_unit, amount: 250}", "300", "0"),
        ("{model: per_unit, amount: 250}", "0", "100"),
        ("{model: per_unit, amount: 0}", "0", "0"),
        ("{model: per_unit, amount: 3}", "2", "33.333333"),
        ("{model: per_unit, amount: 249.95, included: 5, minimum_amount: 99}", "224.955", "10"),
        ("{model: flat, amount: 99}", "74.25", "25"),
        ("{model: package, package_size: 100, amount: 20}", "0.15", "25"),
        ("{model: graduated, tiers: [{up_to: 10, amount: 0.22}, {amount: 0.2}]}", "0.11", "50"),
        ("{model: volume, tiers: [{up_to: 10, amount: 0.2}, {amount: 0.22}]}", "0.11", "50"),
        ("{model: graduated, tiers: [{up_to: 5, amount: 1, flat: 1}, {amount: 1}]}", "1", "50"),
        (
            "{model: stairstep, tiers: [{up_to: 10, flat: 10}, {up_to: 20, flat: 40}, {flat: 90}]}",
            "3",
            "70",
        ),
        (
            "{model: stairstep, tiers: [{up_to: 10, flat: 10}, {up_to: 20, flat: 40}, {flat: 90}]}",
            "8",
            "20",
        ),
        ("{model: percentage, amount: 0.03}", "100", "100"),
        ("{model: formula, formula: 'quantity * 2'}", "2", "100"),
    ],
)
def test_the_greatest_discount_of_the_parts_of_a_price_counts(
    price: str, agreed: str, percent: str
) -> None:
    assert percent_off(parse_price(price), Decimal(agreed)) == Decimal(percent)


def test_discounts_one_after_the_other_are_not_added_up() -> None:
    assert both_off(Decimal(20), Decimal(10)) == 28
    assert both_off(Decimal(0), Decimal("7.5")) == Decimal("7.5")
    assert both_off(Decimal(100), Decimal(50)) == 100
    assert both_off(Decimal("33.333333"), Decimal("0.000001")) == Decimal("33.333334")
