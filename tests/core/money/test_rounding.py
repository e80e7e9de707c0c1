"""Rounding half up, away from zero, at any precision."""

from decimal import ROUND_HALF_UP, Context, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.core.money.rounding import divide_half_up, round_half_up

amounts = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40)
HUGE = Context(prec=2000, rounding=ROUND_HALF_UP)


@pytest.mark.parametrize(
    ("amount", "places", "rounded"),
    [
        ("2.345", 2, "2.35"),
        ("-2.345", 2, "-2.35"),
        ("2.344999999999999999999999999999999", 2, "2.34"),
        ("0.5", 0, "1"),
        ("-0.004", 2, "0.00"),
        ("99.995", 2, "100.00"),
        ("12345678901234567890123456789012345.675", 2, "12345678901234567890123456789012345.68"),
        ("7", 3, "7.000"),
        ("1250", -2, "1.3E+3"),
        ("0.0001", -3, "0E+3"),
    ],
)
def test_a_half_goes_away_from_zero(amount: str, places: int, rounded: str) -> None:
    assert str(round_half_up(Decimal(amount), places)) == rounded


def test_what_is_not_finite_cannot_be_rounded() -> None:
    with pytest.raises(ValueError, match="cannot be rounded"):
        round_half_up(Decimal("NaN"), 2)


@given(amounts, st.integers(0, 10))
def test_rounding_is_that_of_decimal_with_huge_precision(amount: Decimal, places: int) -> None:
    expected = amount.quantize(Decimal(1).scaleb(-places), context=HUGE)
    with localcontext(prec=3):
        assert round_half_up(amount, places) == expected


@given(st.integers(-(10**30), 10**30), st.integers(-(10**12), 10**12).filter(bool))
def test_whole_division_is_that_of_decimal(numerator: int, denominator: int) -> None:
    exact = HUGE.divide(Decimal(numerator), Decimal(denominator))
    expected = exact.quantize(Decimal(1), context=HUGE)
    assert divide_half_up(numerator, denominator) == expected


@pytest.mark.parametrize(
    ("numerator", "denominator", "quotient"),
    [(5, 2, 3), (-5, 2, -3), (5, -2, -3), (-5, -2, 3), (1, 3, 0), (2, 3, 1), (0, -7, 0)],
)
def test_half_a_unit_is_a_whole_one(numerator: int, denominator: int, quotient: int) -> None:
    assert divide_half_up(numerator, denominator) == quotient
