"""Numbers and dates are written exactly, in the reader's notation."""

from datetime import date
from decimal import Decimal

import pytest

from counterfoil.business.documents.notation import notation_of


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        ("0", 2, "0.00"),
        ("1234.5", 2, "1,234.50"),
        ("-1234.5", 2, "−1,234.50"),
        ("1234567", 0, "1,234,567"),
        ("12.3450", 3, "12.345"),
        ("0.0000004", 2, "0.0000004"),
        ("99999999999999999999.9999", 2, "99,999,999,999,999,999,999.9999"),
        ("4E-10", 2, "0.0000000004"),
        ("1E+3", 0, "1,000"),
    ],
)
def test_an_amount_has_the_currencys_decimals_and_never_loses_one(
    value: str, places: int, text: str
) -> None:
    assert notation_of("en").amount(Decimal(value), places) == text


def test_a_quantity_of_38_digits_is_written_in_full() -> None:
    value = Decimal("12345678901234567890123.123456789012345")
    assert notation_of("en").quantity(value) == ("12,345,678,901,234,567,890,123.123456789012345")


def test_a_quantity_has_no_trailing_zeros() -> None:
    assert notation_of("en").quantity(Decimal("1846.000000000000000")) == "1,846"
    assert notation_of("en").quantity(Decimal("0.500")) == "0.5"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "1,234,567.89"),
        ("de", "1.234.567,89"),
        ("de-CH", "1’234’567.89"),
        ("fr", "1\u202f234\u202f567,89"),
        ("hi", "12,34,567.89"),
        ("not a language", "1,234,567.89"),
    ],
)
def test_signs_and_grouping_follow_the_language(language: str, text: str) -> None:
    assert notation_of(language).amount(Decimal("1234567.89"), 2) == text


def test_a_half_open_period_shows_its_last_day() -> None:
    en = notation_of("en")
    october = en.period(date(2026, 10, 1), date(2026, 11, 1)).replace("\u2009", " ")
    assert october == "Oct 1 – 31, 2026"
    assert en.period(date(2026, 10, 1), date(2026, 10, 2)) == "Oct 1, 2026"
    assert en.period(date(2026, 10, 1), date(2026, 10, 1)) == "Oct 1, 2026"


def test_a_country_is_named_in_the_language() -> None:
    assert notation_of("de").country("US") == "Vereinigte Staaten"
    assert notation_of("en").country("ZZZ") == "ZZZ"
