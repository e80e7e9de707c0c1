"""Rounding half up (half away from zero), exactly, at any size of number."""

from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_UP, Context, Decimal


def round_half_up(amount: Decimal, exponent: int) -> Decimal:
    """The amount with exactly ``exponent`` decimal places; a half goes away from zero.

    Exact whatever the precision of the caller's decimal context. A zero never has a sign.
    Raises ValueError when the amount is not finite.
    """
    if not amount.is_finite():
        raise ValueError(f"{amount} cannot be rounded")
    digits = max(amount.adjusted() + exponent + 2, 1)
    context = Context(prec=digits, rounding=ROUND_HALF_UP, Emax=MAX_EMAX, Emin=MIN_EMIN)
    rounded = amount.quantize(Decimal((0, (1,), -exponent)), context=context)
    return rounded or rounded.copy_abs()


def divide_half_up(numerator: int, denominator: int) -> int:
    """The nearest whole quotient; a half goes away from zero. Raises ZeroDivisionError."""
    doubled, divisor = 2 * abs(numerator) + abs(denominator), 2 * abs(denominator)
    quotient = doubled // divisor
    return quotient if (numerator < 0) == (denominator < 0) else -quotient
