"""Numbers in the sentences of explanations."""

from decimal import Decimal

from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.money.written import without_zeros


def plain(value: object) -> str:
    """A stored number as people write it: thousands separated, no trailing zeros."""
    return without_zeros(Decimal(str(value)), grouped=True)


def money(amount: object, currency: str) -> str:
    """A stored amount in the places of its currency: ``1,234.50 USD``."""
    return f"{round_half_up(Decimal(str(amount)), exponent(currency)):,f} {currency}"
