"""Division of an amount into parts that always add up to it."""

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction


def allocate(total: Decimal, weights: Sequence[Decimal], exponent: int) -> list[Decimal]:
    """Shares of the total in proportion to the weights, each with ``exponent`` decimal places.

    Largest remainder: every share is rounded down in magnitude, and the units that are left go
    to the shares that lost most, among equals to the earliest. The shares of a negative total
    mirror those of the positive one. Weights that are all zero share evenly; negative weights
    (a credit among lines) are allowed as long as the weights do not cancel out.

    Raises ValueError when the total has more than ``exponent`` decimal places, when the weights
    cancel out, or when there is something to share and nobody to share it.
    """
    units = Fraction(total) * Fraction(10) ** exponent
    if units.denominator != 1:
        raise ValueError(f"{total} has more than {exponent} decimal places")
    if not weights:
        if units:
            raise ValueError(f"there is nothing to allocate {total} to")
        return []
    whole = _whole_weights(weights)
    if sum(whole) < 0:
        whole = [-weight for weight in whole]
    shares = _shares(abs(units.numerator), whole)
    return [_decimal(share if units >= 0 else -share, exponent) for share in shares]


def _whole_weights(weights: Sequence[Decimal]) -> list[int]:
    """The weights as whole numbers in the same proportion."""
    fractions = [Fraction(weight) for weight in weights]
    if not any(fractions):
        return [1] * len(fractions)
    scale = math.lcm(*(fraction.denominator for fraction in fractions))
    whole = [fraction.numerator * (scale // fraction.denominator) for fraction in fractions]
    if sum(whole) == 0:
        raise ValueError("the weights cancel out")
    return whole


def _shares(units: int, weights: Sequence[int]) -> list[int]:
    """Whole shares of whole units, by largest remainder; the weights' sum is positive."""
    divided = [divmod(units * weight, sum(weights)) for weight in weights]
    shares = [share for share, _ in divided]
    left = units - sum(shares)
    by_loss = sorted(range(len(divided)), key=lambda place: (-divided[place][1], place))
    for place in by_loss[:left]:
        shares[place] += 1
    return shares


def _decimal(units: int, exponent: int) -> Decimal:
    digits = tuple(int(digit) for digit in str(abs(units)))
    return Decimal((1 if units < 0 else 0, digits, -exponent))
