"""Reading YAML by rules: exact values, and the line of everything that is wrong."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from counterfoil.core.notation.located import Kind, Reader, Rule, Rules, excerpt

RULES: Rules = {
    "id": Rule(required=True, max_length=5),
    "count": Rule(kind=Kind.INTEGER, minimum=1, maximum=9, default=3),
    "amount": Rule(kind=Kind.DECIMAL, minimum=0, digits=6, places=2),
    "day": Rule(kind=Kind.DATE),
    "colour": Rule(choices=("red", "blue")),
}


def read(text: str) -> tuple[dict[str, Any] | None, list[tuple[str, int | None, str]]]:
    """The values, and code, line and field of every problem."""
    reader = Reader("file.yaml")
    node = reader.document(text)
    entry = None if node is None else reader.entry(node, RULES, "thing")
    problems = [(problem.code, problem.line, problem.field) for problem in reader.problems]
    return (None if entry is None else entry.values), problems


def test_values_are_what_the_text_says() -> None:
    values, problems = read("id: 007\namount: 1.10\nday: 2024-02-29\ncolour: red\n")
    assert problems == []
    assert values == {
        "id": "007",
        "count": 3,
        "amount": Decimal("1.10"),
        "day": date(2024, 2, 29),
        "colour": "red",
    }
    assert values is not None
    assert str(values["amount"]) == "1.10"


@pytest.mark.parametrize("nothing", ["", "~", "null"])
def test_an_empty_field_is_absent(nothing: str) -> None:
    assert read(f"id: {nothing}\n")[1] == [("missing", 1, "thing.id")]


@pytest.mark.parametrize(
    ("line", "code", "field"),
    [
        ("count: 0", "too_small", "count"),
        ("count: 10", "too_large", "count"),
        ("count: 1.5", "no_integer", "count"),
        ("count: [1]", "no_scalar", "count"),
        ("amount: 1.001", "too_many_places", "amount"),
        ("amount: 10000", "too_large", "amount"),
        ("amount: -1", "too_small", "amount"),
        ("amount: 1_000", "no_decimal", "amount"),
        ("amount: .inf", "no_decimal", "amount"),
        ("amount: ١٢", "no_decimal", "amount"),
        ("day: 2023-02-29", "no_date", "day"),
        ("colour: green", "unknown_value", "colour"),
        ("shape: round", "unknown_field", "shape"),
        ("id: b", "double_field", "id"),
    ],
)
def test_what_does_not_fit_is_told_with_its_line(line: str, code: str, field: str) -> None:
    assert read(f"id: a\n{line}\n")[1] == [(code, 2, f"thing.{field}")]


def test_a_text_is_neither_empty_nor_too_long() -> None:
    assert read("id: ' '\n")[1] == [("empty", 1, "thing.id")]
    assert read("id: abcdef\n")[1] == [("too_long", 1, "thing.id")]


def test_trailing_zeros_are_no_places() -> None:
    assert read("id: a\namount: 9999.9900\n")[1] == []


def test_an_excerpt_keeps_the_lines_of_the_whole() -> None:
    text = "# grüße 😀\nname: Zürich 😀\nbook:\n  id: ü\n  count: 12\nnext: 1\n"
    reader = Reader("file.yaml")
    root = reader.document(text)
    assert root is not None
    (book,) = [value for key, value in root.value if key.value == "book"]
    values, problems = read(excerpt(text, book))
    assert values is not None
    assert values["id"] == "ü"
    assert problems == [("too_large", 5, "thing.count")]


@pytest.mark.parametrize("text", ["[" * 20_000, "a: *b", "a: 'b", "--- 1\n--- 2", "\x07"])
def test_what_is_not_yaml_is_one_problem(text: str) -> None:
    values, problems = read(text)
    assert values is None
    assert [code for code, _, _ in problems] == ["bad_yaml"]
