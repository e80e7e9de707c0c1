"""Exact numbers as people write them."""

from decimal import Decimal


def without_zeros(number: Decimal, *, grouped: bool = False) -> str:
    """All digits of a number but the zeros that only fill its places, never with an exponent.

    ``grouped`` separates thousands by commas. Nothing is rounded, whatever the number of digits:
    ``Decimal.normalize`` would round to 28.
    """
    text = f"{number:,f}" if grouped else f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
