"""Which discount an agreed price is against another price: what it takes off, at most, in percent.

Pure computation. An agreed price is so much for a unit, and the other price may have tiers, cells
and amounts that are charged once: the greatest of their discounts counts.
"""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import cast

from counterfoil.business.products.price_terms import PriceTerms
from counterfoil.business.products.tiers import Tier
from counterfoil.core.money.rounding import divide_half_up

ALL = Decimal(100)
_PLACES = 6

_WITHOUT_AN_AMOUNT = frozenset({"percentage", "graduated_percentage", "dynamic", "formula"})
"""Models that do not say what a unit costs: nobody knows what is taken off, so all may be."""


def percent_off(terms: PriceTerms, agreed: Decimal) -> Decimal:
    """The greatest percentage that a price for a unit takes off these terms; 0 where it is higher.

    Each tier is taken at its first unit, where an amount for the whole tier weighs most. Included
    quantities, minimums and maximums are not looked at.
    """
    if terms.values["model"] in _WITHOUT_AN_AMOUNT:
        return ALL
    size = Fraction(cast("Decimal | None", terms.values.get("package_size")) or 1)
    greatest = max((_off(tier, size, agreed) for tier in _tiers(terms)), default=Fraction(0))
    shown = divide_half_up(greatest.numerator * 10**_PLACES, greatest.denominator)
    return Decimal(shown).scaleb(-_PLACES)


def both_off(first: Decimal, second: Decimal) -> Decimal:
    """The percentage that two percentages take off together, one after the other."""
    left = (ALL - first) * (ALL - second)
    top, bottom = (ALL - left / ALL).as_integer_ratio()
    return Decimal(divide_half_up(top * 10**_PLACES, bottom)).scaleb(-_PLACES)


def _tiers(terms: PriceTerms) -> Iterator[Tier]:
    yield from terms.tiers
    for cell in terms.cells:
        yield from cell.tiers


def _off(tier: Tier, size: Fraction, agreed: Decimal) -> Fraction:
    """What is taken off at the first unit, or package, of a tier."""
    units = max(Fraction(tier.from_quantity), Fraction(1))
    costs = Fraction(tier.unit_amount) * units + Fraction(tier.flat_amount)
    return (
        Fraction(0)
        if costs <= 0
        else max(100 * (1 - Fraction(agreed) * size * units / costs), Fraction(0))
    )
