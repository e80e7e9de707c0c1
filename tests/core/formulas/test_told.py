"""A formula names what it reads, and can be told with the values it read."""

from datetime import date
from decimal import Decimal

from tests.core.formulas.speaking import formula, reference

from counterfoil.core.formulas.vocabulary import Kind, Reference


def test_references_are_named_once_in_the_order_of_the_text() -> None:
    parsed = formula("usage('minutes', 'root') * Quantity + quantity('seats','site') + quantity")
    assert [str(ref) for ref in parsed.references] == [
        "usage('minutes', 'root')",
        "quantity",
        "quantity('seats', 'site')",
    ]
    assert parsed.calls("quantity") == (Reference("quantity", ("seats", "site")),)
    assert parsed.references[0].type.scale == 10


def test_a_formula_is_told_with_its_values() -> None:
    parsed = formula(
        "case when usage( 'hd_minutes' , 'account' ) > 1000 and quantity <= QUANTITY\n"
        "then 0.04 else quantity('seats', 'root') end"
    )
    told = parsed.told(
        {
            reference("usage('hd_minutes', 'account')"): Decimal("1200.5000000000"),
            reference("quantity"): Decimal(100),
            reference("quantity('seats', 'root')"): Decimal("-0.10"),
        }
    )
    assert told == "case when 1200.5 > 1000 and 100 <= 100\nthen 0.04 else -0.1 end"


def test_texts_dates_and_missing_values_are_told_as_they_are_written() -> None:
    parsed = formula(
        "account.country in ('quantity', 'é') and cycle.end > cycle.start "
        "and account.reseller and attribute('a b') is null",
        Kind.BOOLEAN,
    )
    told = parsed.told(
        {
            reference("account.country"): "Côte d'Ivoire",
            reference("cycle.end"): date(2026, 2, 1),
            reference("account.reseller"): True,
            reference("attribute('a b')"): None,
        }
    )
    assert told == (
        "'Côte d''Ivoire' in ('quantity', 'é') and date '2026-02-01' > cycle.start "
        "and true and null is null"
    )


def test_a_formula_without_values_is_told_as_it_is() -> None:
    assert formula("quantity * 2").told({}) == "quantity * 2"


def test_equal_formulas_are_equal() -> None:
    assert formula("quantity * 2") == formula("quantity * 2")
    assert hash(formula("quantity * 2")) == hash(formula("quantity * 2"))
    assert formula("quantity * 2") != formula("quantity * 3")
