"""What an amount beside a price says of itself."""

from decimal import Decimal
from typing import Any

import pytest

from counterfoil.business.billing.applied_explanation import applied_sentences


def rated(kind: str, amount: str, facts: dict[str, Any], **more: object) -> dict[str, Any]:
    return {
        "kind": kind,
        "amount": Decimal(amount),
        "currency": "USD",
        "commitment_id": None,
        "applies_to_id": 7,
        "days": 31,
        "cycle_days": 31,
        "steps": [facts],
        "formulas": None,
        **more,
    }


def test_a_minimum_tells_what_the_cycle_costs_and_what_it_must() -> None:
    said = applied_sentences(
        rated("minimum", "50", {"bound": "150.0000", "cost": "100.0000"}, days=25, cycle_days=28)
    )
    assert said == (
        "The price has a minimum per cycle; for the 25 of 28 days served it is 150.00 USD.",
        "Without it the cycle costs 100.00 USD.",
        "So this line is 50.00 USD.",
    )


def test_late_usage_makes_a_difference_to_a_minimum() -> None:
    said = applied_sentences(rated("minimum", "-20", {"bound": "150", "cost": "120"}))
    assert said[-1] == "So this line is -20.00 USD, the difference to what was billed."


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"kind": "percentage", "percent": "12.500000"}, "Discount d takes 12.5 percent off."),
        ({"kind": "fixed", "amount": "20"}, "Discount d takes 20 off an invoice."),
        ({"kind": "per_unit", "amount": "0.05"}, "Discount d takes 0.05 off each unit."),
        (
            {"kind": "volume", "percent": "5", "volume": "1200"},
            "Discount d takes 5 percent off at a volume of 1,200.",
        ),
    ],
)
def test_a_discount_tells_what_it_is(facts: dict[str, str], sentence: str) -> None:
    nothing = {"percent": None, "amount": None, "volume": None}
    shared = {"discount": "d", "line": "100", "whole": "30", "taken": "10"}
    said = applied_sentences(rated("discount", "-10", {**nothing, **shared, **facts}))
    assert said == (
        sentence,
        "Off this invoice it takes 30.00 USD, spread over its lines.",
        (
            "The line it applies to, rated charge 7, came to 100.00 USD before; "
            "its share is 10.00 USD."
        ),
    )


def test_a_discount_follows_a_cycle_that_was_rated_again() -> None:
    facts = {"kind": "adjusted", "before": "-10", "now": "-12", "billed": "100", "rated": "120"}
    assert applied_sentences(rated("discount", "-2", facts)) == (
        "The cycle was rated again: 120.00 USD in place of 100.00 USD.",
        "So its share of the discount is -12.00 USD in place of -10.00 USD.",
    )


def test_a_later_true_up_tells_what_was_billed_before() -> None:
    facts = {
        "commitment": "floor",
        "kind": "minimum",
        "full_amount": "310",
        "target": "310",
        "counted": "250",
        "before": "110",
    }
    said = applied_sentences(
        rated(
            "true_up",
            "-50",
            facts,
            commitment_id=1,
            cycle_start="2024-01-01",
            cycle_end="2024-02-01",
        )
    )
    assert said[1:] == (
        "Billed for that period, net of discounts: 250.00 USD.",
        "Billed before for this commitment: 110.00 USD.",
        "What remains is this line: -50.00 USD.",
    )
