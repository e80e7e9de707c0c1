"""Charges that speak of each other's amounts are computed one after the other."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from counterfoil.core.formulas.order import evaluation_levels


def test_a_charge_waits_for_the_charges_it_speaks_of() -> None:
    levels, problems = evaluation_levels(
        {"support": ["room", "minutes"], "room": [], "minutes": ["room"], "discount": ["support"]}
    )
    assert levels == {"room": 0, "minutes": 1, "support": 2, "discount": 3}
    assert problems == []


def test_a_charge_without_a_formula_waits_for_nothing() -> None:
    assert evaluation_levels({"support": ["room"]}) == ({"room": 0, "support": 1}, [])


def test_a_cycle_is_named_and_the_others_are_computed() -> None:
    levels, problems = evaluation_levels(
        {"c": ["a"], "a": ["b"], "b": ["c", "free"], "late": ["a"], "next": ["free"]},
        field="price_book",
    )
    assert levels == {"free": 0, "next": 1}
    assert [(problem.code, problem.field) for problem in problems] == [
        ("formula_cycle", "price_book")
    ]
    assert "a -> b -> c -> a" in problems[0].message


def test_a_charge_that_speaks_of_itself_is_a_cycle() -> None:
    _, problems = evaluation_levels({"a": ["a"], "x": ["y"], "y": ["x"]})
    assert [problem.message.rsplit(": ", 1)[1] for problem in problems] == [
        "a -> a",
        "x -> y -> x",
    ]


def test_a_long_chain_is_no_matter() -> None:
    levels, problems = evaluation_levels({str(n): [str(n - 1)] for n in range(1, 5000)})
    assert (levels["4999"], problems) == (4999, [])


@given(st.dictionaries(st.integers(0, 8), st.sets(st.integers(0, 8), max_size=3)))
def test_levels_go_up_and_what_has_none_is_on_a_cycle_or_behind_one(
    graph: dict[int, set[int]],
) -> None:
    waits_for = {str(owner): {str(name) for name in names} for owner, names in graph.items()}
    levels, problems = evaluation_levels(waits_for)
    for owner, names in waits_for.items():
        if owner in levels:
            assert levels[owner] == max((levels[name] + 1 for name in names), default=0)
        else:
            assert any(name not in levels for name in names)
    assert bool(problems) == any(owner not in levels for owner in waits_for)
    for problem in problems:
        chain = problem.message.rsplit(": ", 1)[1].split(" -> ")
        assert chain[0] == chain[-1]
        assert all(b in waits_for[a] for a, b in itertools.pairwise(chain))
