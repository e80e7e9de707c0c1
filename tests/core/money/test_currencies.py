"""Currencies: the active ISO 4217 codes and their minor units."""

import pycountry
import pytest

from counterfoil.core.money.currencies import CURRENCIES, exponent
from counterfoil.core.problems import Refused

NOT_BILLED_IN = {
    "XAG",
    "XAU",
    "XBA",
    "XBB",
    "XBC",
    "XBD",
    "XDR",
    "XPD",
    "XPT",
    "XSU",
    "XTS",
    "XUA",
    "XXX",
}


@pytest.mark.parametrize(
    ("currency", "places"),
    [("EUR", 2), ("USD", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("ISK", 0), ("UGX", 0)],
)
def test_an_amount_has_the_places_of_its_currency(currency: str, places: int) -> None:
    assert exponent(currency) == places


def test_every_active_code_is_known_and_no_other() -> None:
    active = {currency.alpha_3 for currency in pycountry.currencies}
    assert set(CURRENCIES) == active - NOT_BILLED_IN


@pytest.mark.parametrize("code", ["EURO", "eur", "XAU", "DEM", ""])
def test_an_unknown_currency_is_refused_with_what_is_allowed(code: str) -> None:
    with pytest.raises(Refused) as refused:
        exponent(code)
    assert refused.value.problems[0].code == "unknown_currency"
    assert "EUR" in refused.value.problems[0].allowed
