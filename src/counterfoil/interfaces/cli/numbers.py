"""Numbers as somebody types them."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from counterfoil.core.problems import Problem, Refused


def decimal_of(text: str | None, field: str = "amount") -> Decimal | None:
    """A decimal that was typed; refuses other texts."""
    return None if text is None else number_of(text, field)


def number_of(text: str, field: str, line: int | None = None) -> Decimal:
    """A decimal that has to be there; refuses other texts."""
    try:
        number = Decimal(text) if text.isascii() and "_" not in text else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        message = f"{text!r} is not a number such as 9.95"
        raise Refused(Problem("not_a_number", message, field, line=line))
    return number


def quantities_of(pairs: Sequence[str] | None, field: str) -> dict[str, Decimal]:
    """Charges and their quantities, typed ``charge=quantity``; refuses one that is there twice."""
    quantities: dict[str, Decimal] = {}
    for pair in pairs or ():
        charge, sign, text = pair.rpartition("=")
        if not (sign and charge):
            message = f"{pair!r} must be written charge=quantity, like room=3"
            raise Refused(Problem("bad_quantity", message, field))
        if charge in quantities:
            raise Refused(Problem("bad_quantity", f"{charge} is there twice", field))
        quantities[charge] = number_of(text, field)
    return quantities
