"""Meters that contradict themselves, or their charges, are refused with place and reason."""

import pytest

from counterfoil.business.products.meters import find_metered_charge_problems
from counterfoil.business.products.price_book import parse_price_book


def problems_of(meter: str) -> list[tuple[str, str, int | None]]:
    text = f"meters:\n  - {{id: m, name: M, unit: unit, {meter}}}\n"
    _, problems = parse_price_book(text, "book.yaml")
    return [(problem.code, problem.field, problem.line) for problem in problems]


@pytest.mark.parametrize(
    ("meter", "code", "field"),
    [
        ("aggregation: unique_count", "missing_property", "property"),
        ("aggregation: sum, property: user", "unexpected_property", "property"),
        ("aggregation: percentile", "missing_percentile", "percentile"),
        ("aggregation: percentile, percentile: 0", "percentile_range", "percentile"),
        ("aggregation: percentile, percentile: 100.001", "percentile_range", "percentile"),
        ("aggregation: max, percentile: 95", "unexpected_percentile", "percentile"),
        ("aggregation: max, carried_over: true", "nothing_to_carry", "carried_over"),
        ("filter: {region: {prefix: e}}", "bad_filter", "filter"),
        ("filter: {region: []}", "bad_filter", "filter"),
        ("filter: eu", "no_mapping", "filter"),
    ],
)
def test_a_meter_that_cannot_be_is_refused(meter: str, code: str, field: str) -> None:
    assert (code, f"meters[0].{field}", 2) in problems_of(meter)


def test_a_percentile_of_a_hundred_is_the_highest_reading_and_allowed() -> None:
    assert problems_of("aggregation: percentile, percentile: 100") == []


@pytest.mark.parametrize(
    ("charge", "field"),
    [
        ({"event_increment": 60}, "event_increment"),
        ({"event_minimum": 1}, "event_minimum"),
        ({"pooled_over": "root"}, "pooled_over"),
    ],
)
def test_a_charge_cannot_ask_of_a_level_what_single_events_have(charge, field) -> None:
    asked = {"event_minimum": None, "event_increment": None, "pooled_over": "subscription"}
    meter = {"aggregation": "latest", "carried_over": False}
    found = find_metered_charge_problems({**asked, **charge}, meter)
    assert [(problem.code, problem.field) for problem in found] == [("not_for_this_meter", field)]
