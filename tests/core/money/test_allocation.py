"""Allocation: parts in proportion that always add up to the whole."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.core.money.allocation import allocate

totals = st.integers(-(10**12), 10**12)
weight = st.decimals(min_value=0, max_value=10**9, places=6)


def decimals(*texts: str) -> list[Decimal]:
    return [Decimal(text) for text in texts]


@pytest.mark.parametrize(
    ("total", "weights", "places", "parts"),
    [
        ("100.00", ["1", "1", "1"], 2, ["33.34", "33.33", "33.33"]),
        ("-100.00", ["1", "1", "1"], 2, ["-33.34", "-33.33", "-33.33"]),
        ("0.05", ["3", "7"], 2, ["0.02", "0.03"]),
        ("10", ["0.1", "0.2", "0.7"], 0, ["1", "2", "7"]),
        ("0.01", ["0", "0"], 2, ["0.01", "0.00"]),
        ("10.00", ["30", "-10"], 2, ["15.00", "-5.00"]),
        ("10.00", ["-30", "10"], 2, ["15.00", "-5.00"]),
        ("1.000", ["1", "2"], 3, ["0.333", "0.667"]),
        ("0", [], 2, []),
    ],
)
def test_parts(total: str, weights: list[str], places: int, parts: list[str]) -> None:
    shares = allocate(Decimal(total), decimals(*weights), places)
    assert [str(share) for share in shares] == parts


@pytest.mark.parametrize(("total", "weights"), [("0.001", ["1"]), ("1", []), ("1", ["5", "-5"])])
def test_what_cannot_be_allocated_is_an_error(total: str, weights: list[str]) -> None:
    with pytest.raises(ValueError, match=r"decimal places|nothing|cancel"):
        allocate(Decimal(total), decimals(*weights), 2)


@given(totals, st.lists(weight, min_size=1, max_size=30), st.integers(0, 4))
def test_the_parts_add_up_and_each_is_within_one_unit_of_its_share(
    units: int, weights: list[Decimal], places: int
) -> None:
    unit = Fraction(1, 10**places)
    parts = allocate(Decimal(units).scaleb(-places), weights, places)
    assert sum(Fraction(part) for part in parts) == units * unit
    whole = sum(Fraction(weight) for weight in weights)
    if whole:
        for part, weight in zip(parts, weights, strict=True):
            assert abs(Fraction(part) - units * unit * Fraction(weight) / whole) < unit


@given(totals, st.lists(weight, min_size=1, max_size=10))
def test_the_parts_of_a_reversal_mirror_the_parts(units: int, weights: list[Decimal]) -> None:
    parts = allocate(Decimal(units).scaleb(-2), weights, 2)
    assert allocate(Decimal(-units).scaleb(-2), weights, 2) == [-part for part in parts]
