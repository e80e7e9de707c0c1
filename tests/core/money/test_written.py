"""Numbers as people write them: every digit, and no zero that only fills a place."""

from decimal import Decimal

import pytest

from counterfoil.core.money.written import without_zeros


@pytest.mark.parametrize(
    ("number", "written", "grouped"),
    [
        ("0.220000", "0.22", "0.22"),
        ("1200.000", "1200", "1,200"),
        ("1200", "1200", "1,200"),
        ("1E+3", "1000", "1,000"),
        ("0E-15", "0", "0"),
        ("-1234.50", "-1234.5", "-1,234.5"),
        (
            "12345678901234567890.123456789012345",
            "12345678901234567890.123456789012345",
            "12,345,678,901,234,567,890.123456789012345",
        ),
    ],
)
def test_all_digits_are_written(number: str, written: str, grouped: str) -> None:
    assert without_zeros(Decimal(number)) == written
    assert without_zeros(Decimal(number), grouped=True) == grouped
