"""Numbers as somebody types them."""

from decimal import Decimal

import pytest

from counterfoil.core.problems import Refused
from counterfoil.interfaces.cli.numbers import decimal_of, quantities_of


def test_a_number_keeps_its_digits() -> None:
    assert decimal_of("249.950") == Decimal("249.950")
    assert decimal_of(None) is None
    assert quantities_of(["room=3", "a=b=0.5"], "--quantity") == {
        "room": Decimal(3),
        "a=b": Decimal("0.5"),
    }


@pytest.mark.parametrize("text", ["", "many", "NaN", "Infinity", "1_000", "1,000", "١٢"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="is not a number such as"):
        decimal_of(text)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["room"], "must be written charge=quantity"),
        (["=3"], "must be written charge=quantity"),
        (["room=many"], "is not a number"),
        (["room=3", "room=4"], "room is there twice"),
    ],
)
def test_quantities_that_cannot_be_meant(pairs: list[str], said: str) -> None:
    with pytest.raises(Refused, match=said):
        quantities_of(pairs, "--quantity")
