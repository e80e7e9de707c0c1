"""The active currencies of ISO 4217 and how many decimal places their amounts have.

Precious metals, bond units and test codes are left out: they have no minor unit and nobody is
billed in them.
"""

from collections.abc import Mapping
from types import MappingProxyType

from counterfoil.core.problems import Problem, Refused

_CODES_BY_EXPONENT = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD "
    "CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL "
    "GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR "
    "LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD "
    "PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC "
    "SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR "
    "ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

CURRENCIES: Mapping[str, int] = MappingProxyType(
    dict(
        sorted(
            (code, places) for places, codes in _CODES_BY_EXPONENT.items() for code in codes.split()
        )
    )
)
"""Decimal places of an amount by ISO 4217 code: 2 for EUR, 0 for JPY, 3 for KWD."""


def exponent(currency: str) -> int:
    """The decimal places of an amount in that currency; refuses an unknown code."""
    try:
        return CURRENCIES[currency]
    except KeyError:
        raise Refused(unknown_currency(currency)) from None


def unknown_currency(currency: object, field: str = "currency") -> Problem:
    """What is said of a code that is no active ISO 4217 currency."""
    return Problem(
        "unknown_currency",
        f"{currency!r} is not an active ISO 4217 currency",
        field,
        tuple(CURRENCIES),
    )
