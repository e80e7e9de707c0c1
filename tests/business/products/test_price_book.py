"""The notation of price books: what it says, and where it is refused."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from counterfoil.business.products.price_book import parse_price_book
from counterfoil.business.products.tiers import Tier

DOCUMENT = Path(__file__).parents[3] / "docs" / "price-books.md"


def example() -> str:
    """The example of the documentation."""
    return DOCUMENT.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]


def plan(prices: str, charge: str = "kind: usage, meter: m") -> str:
    """A book of one charge, whose prices begin in line 8."""
    return (
        "products: [{id: p, name: P}]\n"
        "meters: [{id: m, name: M, unit: second}]\n"
        "rate_plans:\n"
        "  - id: r\n"
        "    product: p\n"
        "    name: R\n"
        f"    charges: [{{id: c, name: C, {charge}, prices: [\n{prices}]}}]\n"
    )


def refusals(text: str) -> list[tuple[str, int | None, str]]:
    """Code, line and field of every problem."""
    _, problems = parse_price_book(text, "book.yaml")
    assert {problem.file for problem in problems} <= {"book.yaml"}
    return [(problem.code, problem.line, problem.field) for problem in problems]


def test_the_documented_example_is_right() -> None:
    book, problems = parse_price_book(example(), "book.yaml")
    assert problems == []
    assert [entry.external_id for entry in book.of_entity("charge")] == [
        "premier-dial-out",
        "managed-room",
        "installation",
    ]
    assert len(book.prices) == 10


def test_amounts_are_exactly_what_the_text_says() -> None:
    book, _ = parse_price_book(example(), "book.yaml")
    first, second, graduated = book.prices[:3]
    assert first.key == ("premier-dial-out", "list", "", "USD", False)
    assert str(first.tiers[0].unit_amount) == "0.2200"
    assert (first.valid_to, second.valid_from) == (date(2026, 7, 1), date(2026, 7, 1))
    assert graduated.included_quantity == Decimal(100)
    assert graduated.tiers == (
        Tier(Decimal(0), Decimal(1000), Decimal("0.05"), Decimal(0)),
        Tier(Decimal(1000), None, Decimal("0.04"), Decimal(0)),
    )


def test_the_amount_of_a_flat_price_is_its_flat_amount() -> None:
    book, problems = parse_price_book(plan("{currency: USD, model: flat, amount: 9.5}"), "b")
    assert problems == []
    assert book.prices[0].tiers == (Tier(Decimal(0), None, Decimal(0), Decimal("9.5")),)


def test_a_quarter_is_three_months() -> None:
    book, problems = parse_price_book(plan("", "kind: recurring, period: quarter, every: 2"), "b")
    assert problems == []
    (charge,) = book.of_entity("charge")
    assert (charge.values["period_unit"], charge.values["period_count"]) == ("month", 6)


PRICE = "rate_plans[0].charges[0].prices[0]"


@pytest.mark.parametrize(
    ("price", "refused"),
    [
        ("currency: XYZ, model: per_unit, amount: 1", [("unknown_currency", 8, ".currency")]),
        ("currency: USD, model: fixed, amount: 1", [("unknown_value", 8, ".model")]),
        ("currency: USD, model: per_unit", [("missing_amount", 8, "")]),
        ("currency: USD, model: per_unit, amount: -1", [("too_small", 8, ".amount")]),
        ("currency: USD, model: per_unit, amount: 1e3", [("no_decimal", 8, ".amount")]),
        (
            "currency: USD, model: per_unit, amount: 0.12345678901",
            [("too_many_places", 8, ".amount")],
        ),
        (
            "currency: USD, model: per_unit, amount: 1234567890123456789",
            [("too_large", 8, ".amount")],
        ),
        (
            "currency: USD, model: per_unit, amount: 1, colour: red",
            [("unknown_field", 8, ".colour")],
        ),
        (
            "currency: USD, model: package, amount: 1",
            [("missing_package_size", 8, ".package_size")],
        ),
        (
            "currency: USD, model: per_unit, package_size: 5, amount: 1",
            [("unexpected_package_size", 8, ".package_size")],
        ),
        (
            "currency: USD, model: flat, included: 5, amount: 1",
            [("unexpected_included_quantity", 8, ".included")],
        ),
        (
            "currency: USD, model: flat, tiers: [{up_to: 5, amount: 1},\n {amount: 2}]",
            [("several_tiers", 9, ".tiers[1]")],
        ),
        (
            (
                "currency: USD, model: graduated, tiers: [{up_to: 10, amount: 2},\n"
                " {from: 5, amount: 1}]"
            ),
            [("overlapping_tiers", 9, ".tiers[1].from")],
        ),
        (
            "currency: USD, model: volume, tiers: [{up_to: 10, amount: 2},\n{from: 15, amount: 1}]",
            [("tier_gap", 9, ".tiers[1].from")],
        ),
        (
            "currency: USD, model: volume, tiers: [{from: 1, amount: 2}]",
            [("tier_gap", 8, ".tiers[0].from")],
        ),
        (
            (
                "currency: USD, model: graduated, tiers: [{up_to: 10, amount: 2},\n"
                " {up_to: 8, amount: 1},\n {from: 10, amount: 1}]"
            ),
            [
                ("decreasing_bounds", 9, ".tiers[1].up_to"),
                ("tier_gap", 10, ".tiers[2].from"),
            ],
        ),
        (
            "currency: USD, model: graduated, tiers: [{amount: 2},\n {amount: 1}]",
            [("overlapping_tiers", 9, ".tiers[1].from")],
        ),
        (
            (
                "currency: USD, model: graduated, tiers: [{up_to: 10, amount: 2},\n"
                " {up_to: 20, amount: 1}]"
            ),
            [("closed_last_tier", 9, ".tiers[1].up_to")],
        ),
        (
            "currency: USD, model: graduated, tiers: [{up_to: ten, amount: 2}, {amount: 1}]",
            [("no_decimal", 8, ".tiers[0].up_to")],
        ),
        (
            (
                "currency: USD, model: per_unit, amount: 1, valid_from: 2026-02-01,\n"
                " valid_to: 2026-02-01"
            ),
            [("ends_before_start", 9, ".valid_to")],
        ),
        (
            "currency: USD, model: per_unit, amount: 1, valid_from: 2026-02-30",
            [("no_date", 8, ".valid_from")],
        ),
    ],
)
def test_a_wrong_price_is_refused_at_its_line(
    price: str, refused: list[tuple[str, int, str]]
) -> None:
    expected = [(code, line, f"{PRICE}{field}") for code, line, field in refused]
    assert refusals(plan(f"{{{price}}}")) == expected


@pytest.mark.parametrize(
    ("charge", "refused"),
    [
        ("kind: usage", [("missing_meter", "meter")]),
        ("kind: usage, meter: m, timing: in_advance", [("usage_in_advance", "timing")]),
        ("kind: usage, meter: m, event_increment: -60", [("too_small", "event_increment")]),
        ("kind: usage, meter: m, event_increment: 0", [("zero_increment", "event_increment")]),
        ("kind: usage, meter: m, event_minimum: -1", [("too_small", "event_minimum")]),
        ("kind: recurring, meter: m", [("not_for_this_kind", "meter")]),
        ("kind: monthly", [("unknown_value", "kind")]),
        ("meter: m", [("missing", "kind")]),
        ("kind: recurring, period: decade", [("unknown_value", "period")]),
        ("kind: recurring, period: quarter, every: 41", [("too_large", "every")]),
    ],
)
def test_a_wrong_charge_is_refused(charge: str, refused: list[tuple[str, str]]) -> None:
    expected = [(code, 7, f"rate_plans[0].charges[0].{field}") for code, field in refused]
    assert refusals(plan("", charge)) == expected


def test_two_prices_on_the_same_day_are_refused() -> None:
    text = plan(
        "{currency: USD, model: per_unit, amount: 1},\n"
        "{currency: EUR, model: per_unit, amount: 1},\n"
        "{currency: USD, model: per_unit, amount: 2, valid_from: 2026-02-01}"
    )
    _, (problem,) = parse_price_book(text, "book.yaml")
    assert (problem.code, problem.line) == ("overlapping_validity", 10)
    assert "give the earlier one valid_to: 2026-02-01" in problem.message


def test_prices_one_after_the_other_are_right() -> None:
    text = plan(
        "{currency: USD, model: per_unit, amount: 2, valid_from: 2026-02-01},\n"
        "{currency: USD, model: per_unit, amount: 1, valid_to: 2026-02-01}"
    )
    assert refusals(text) == []


def test_ids_and_names_that_stand_twice_are_refused() -> None:
    text = (
        "products:\n- {id: p, name: P}\n- {id: p, name: Q}\n"
        "rate_plans:\n- id: r\n  product: p\n  name: R\n  charges:\n"
        "  - {id: a, name: Same, kind: recurring}\n  - {id: b, name: Same, kind: recurring}\n"
    )
    assert refusals(text) == [
        ("double_id", 3, "products[1].id"),
        ("double_name", 10, "rate_plans[0].charges[1].name"),
    ]


@pytest.mark.parametrize("owner", ["", "account: A, subscription: S, "])
def test_an_own_price_needs_exactly_one_owner(owner: str) -> None:
    text = f"prices:\n- {{{owner}charge: c, currency: USD, model: flat, amount: 1}}\n"
    assert refusals(text) == [("wrong_owner", 2, "prices[0]")]


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "empty_file", 1),
        ("- 1", "no_mapping", 1),
        ("products: 7", "no_list", 1),
        ("products:\n- [", "bad_yaml", 3),
        ("products: []\nproducts: []", "double_field", 2),
        ("\x00", "bad_yaml", 1),
        ("price: []", "unknown_field", 1),
    ],
)
def test_what_is_no_price_book_is_refused(text: str, code: str, line: int) -> None:
    assert [found[:2] for found in refusals(text)] == [(code, line)]


LAYERS = """\
price_regions:
- {id: asia, name: Asia, prices: [{charge: c, currency: JPY, model: flat, amount: 1}]}
pricing_templates:
- {id: gold, name: Gold, base: silver}
- {id: silver, name: Silver, prices: [{charge: c, currency: JPY, model: flat, amount: 2}]}
prices:
- {price_region: asia, charge: d, currency: JPY, model: flat, amount: 1}
- {account: A, charge: c, currency: JPY, model: flat, amount: 3}
- {site: TOKYO, charge: c, currency: JPY, model: flat, amount: 4}
- {contact: ANN, charge: c, currency: JPY, model: flat, amount: 5}
- {contract: FRAME, charge: c, currency: JPY, model: flat, amount: 6}
- {subscription: S, charge: c, currency: JPY, model: flat, amount: 7}
template_assignments:
- {account: A, pricing_template: gold, valid_from: 2026-01-01, valid_to: 2026-04-01}
"""


def test_every_layer_has_its_place_in_the_notation() -> None:
    book, problems = parse_price_book(LAYERS, "book.yaml")
    assert problems == []
    assert [(price.layer, price.owner) for price in book.prices] == [
        ("region", "asia"),
        ("template", "silver"),
        ("region", "asia"),
        ("account", "A"),
        ("site", "TOKYO"),
        ("contact", "ANN"),
        ("contract", "FRAME"),
        ("subscription", "S"),
    ]
    gold, _ = book.of_entity("pricing_template")
    assert gold.references == {"base_template_id": "silver"}
    (assigned,) = book.assignments
    assert (assigned.account, assigned.template) == ("A", "gold")
    assert (assigned.valid_from, assigned.valid_to) == (date(2026, 1, 1), date(2026, 4, 1))


def test_templates_that_build_on_themselves_are_refused() -> None:
    text = (
        "pricing_templates:\n- {id: a, name: A, base: b}\n- {id: b, name: B, base: c}\n"
        "- {id: c, name: C, base: a}\n- {id: d, name: D, base: a}\n"
    )
    _, problems = parse_price_book(text, "book.yaml")
    assert [(problem.code, problem.line, problem.field) for problem in problems] == [
        ("template_circle", 2, "pricing_templates[0].base"),
        ("template_circle", 3, "pricing_templates[1].base"),
        ("template_circle", 4, "pricing_templates[2].base"),
    ]
    assert problems[0].message.endswith("a on b on c on a")


@pytest.mark.parametrize(
    ("second", "refused"),
    [
        ("valid_from: 2026-03-31", ("overlapping_validity", 3, ".valid_from")),
        ("valid_from: 2026-05-01, valid_to: 2026-05-01", ("ends_before_start", 3, ".valid_to")),
    ],
)
def test_a_wrong_assignment_is_refused_at_its_line(
    second: str, refused: tuple[str, int, str]
) -> None:
    text = (
        "template_assignments:\n- {account: A, pricing_template: t, valid_to: 2026-04-01}\n"
        f"- {{account: A, pricing_template: u, {second}}}\n"
    )
    code, line, field = refused
    assert (code, line, f"template_assignments[1]{field}") in refusals(text)


@pytest.mark.parametrize(
    ("price", "refused"),
    [
        ("model: graduated, tiers: [{from: 10, up_to: 20, amount: 1}, {from: 50, amount: 1}]", []),
        ("model: per_unit, amount: 1", []),
        (
            "model: graduated, included: 5, tiers: [{from: 10, amount: 1}]",
            [("unexpected_included_quantity", 8, ".included")],
        ),
        (
            "model: package, package_size: 5, amount: 1",
            [("unexpected_package_size", 8, ".package_size")],
        ),
        (
            "model: graduated, tiers: [{up_to: 20, amount: 1},\n {from: 10, amount: 1}]",
            [("overlapping_tiers", 9, ".tiers[1].from")],
        ),
        (
            "model: per_unit, amount: 1, minimum_amount: 5",
            [("unexpected_bound", 8, ".minimum_amount")],
        ),
    ],
)
def test_a_partial_price_sets_tiers_only(price: str, refused: list[tuple[str, int, str]]) -> None:
    expected = [(code, line, f"{PRICE}{field}") for code, line, field in refused]
    assert refusals(plan(f"{{currency: USD, partial: true, {price}}}")) == expected


def test_a_whole_and_a_partial_price_may_hold_on_the_same_day() -> None:
    text = plan(
        "{currency: USD, model: per_unit, amount: 1},\n"
        "{currency: USD, partial: true, model: per_unit, amount: 2, valid_from: 2026-02-01}"
    )
    assert refusals(text) == []
