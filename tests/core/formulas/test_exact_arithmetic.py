"""Arithmetic of formulas equals that of fractions, rounded half-up to 15 decimals per product
and quotient."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.core.formulas.speaking import computed, formula

from counterfoil.core.formulas.vocabulary import Value
from counterfoil.platform.engine.duck import Engine

Number = Fraction | None
Row = dict[str, Number]
Meaning = Callable[[Row], Number]
Spoken = tuple[str, Meaning]

LARGEST = 10**23
SCALES = {"quantity": 10, "price": 15, "balance": 15, "contract.months": 0}
WHOLES = {"quantity": 9, "price": 3, "balance": 9, "contract.months": 2}


class TooLarge(Exception):  # noqa: N818
    """A number with more than 23 digits before the point."""


def half_up(number: Fraction, digits: int) -> Fraction:
    unit = 10**digits
    magnitude = (2 * abs(number.numerator) * unit + number.denominator) // (2 * number.denominator)
    return Fraction(magnitude if number >= 0 else -magnitude, unit)


def bounded(number: Number) -> Number:
    if number is not None and abs(number) >= LARGEST:
        raise TooLarge
    return number


def text_of(number: Fraction, scale: int) -> str:
    count = int(number * 10**scale)
    digits = str(abs(count)).rjust(scale + 1, "0")
    whole, broken = digits[: len(digits) - scale], digits[len(digits) - scale :]
    return f"{'-' if count < 0 else ''}{whole}{'.' if scale else ''}{broken}"


def ties(scale: int, whole: int) -> st.SearchStrategy[Fraction]:
    """Numbers that like to end in 5, at any of their decimals, or to be whole or zero."""
    plain = st.integers(-(10 ** (whole + scale)) + 1, 10 ** (whole + scale) - 1)
    halves = st.tuples(st.integers(-19, 19), st.integers(0, scale))
    return st.one_of(
        plain.map(lambda count: Fraction(count, 10**scale)),
        halves.map(lambda pair: Fraction(pair[0] * 5, 10 ** pair[1])),
        st.integers(-12, 12).map(Fraction),
    )


def literals() -> st.SearchStrategy[Spoken]:
    def spoken(number: Fraction, scale: int) -> Spoken:
        said = Fraction(int(number * 10**scale), 10**scale)
        return f"({text_of(said, scale)})", lambda _: said

    return st.integers(0, 15).flatmap(
        lambda scale: ties(scale, 6).map(lambda number: spoken(number, scale))
    )


def variables() -> st.SearchStrategy[Spoken]:
    return st.sampled_from(sorted(SCALES)).map(lambda name: (name, lambda row: row[name]))


def two(operation: str, left: Spoken, right: Spoken) -> Spoken:
    def meaning(row: Row) -> Number:
        a, b = left[1](row), right[1](row)
        if a is None or b is None or (operation in "/%" and b == 0):
            return None
        if operation == "*":
            return bounded(half_up(a * b, 15))
        if operation == "/":
            # A divisor of more than 18 whole digits is documented to have no quotient.
            assume(abs(b) < 10**18)
            return bounded(half_up(a / b, 15))
        if operation == "%":
            rest = abs(a) % abs(b)
            return rest if a >= 0 else -rest
        return bounded(a + b if operation == "+" else a - b)

    return f"({left[0]} {operation} {right[0]})", meaning


def choice(operation: str, left: Spoken, right: Spoken) -> Spoken:
    def meaning(row: Row) -> Number:
        a, b = left[1](row), right[1](row)
        if operation == "coalesce":
            return b if a is None else a
        if operation == "nullif":
            return None if a is not None and a == b else a
        if a is None or b is None:
            return None
        return max(a, b) if operation == "greatest" else min(a, b)

    return f"{operation}({left[0]}, {right[0]})", meaning


def one(operation: str, digits: int, part: Spoken) -> Spoken:
    def meaning(row: Row) -> Number:
        a = part[1](row)
        if a is None:
            return None
        if operation == "round":
            return bounded(half_up(a, digits))
        whole = {"floor": a.__floor__, "ceil": a.__ceil__}
        return bounded(Fraction(whole[operation]())) if operation in whole else abs(a)

    return f"{operation}({part[0]}{f', {digits}' if operation == 'round' else ''})", meaning


def case(left: Spoken, right: Spoken, then: Spoken, other: Spoken) -> Spoken:
    def meaning(row: Row) -> Number:
        a, b = left[1](row), right[1](row)
        return then[1](row) if a is not None and b is not None and a < b else other[1](row)

    return f"case when {left[0]} < {right[0]} then {then[0]} else {other[0]} end", meaning


def larger(part: st.SearchStrategy[Spoken]) -> st.SearchStrategy[Spoken]:
    chosen = st.sampled_from(["greatest", "least", "coalesce", "nullif"])
    return st.one_of(
        st.builds(two, st.sampled_from("+-**///%"), part, part),
        st.builds(choice, chosen, part, part),
        st.builds(
            one, st.sampled_from(["round", "floor", "ceil", "abs"]), st.integers(0, 15), part
        ),
        st.builds(case, part, part, part, part),
    )


spoken_formulas = st.recursive(st.one_of(variables(), literals()), larger, max_leaves=8)
rows = st.fixed_dictionaries(
    {name: st.one_of(st.none(), ties(SCALES[name], WHOLES[name])) for name in SCALES}
)


def run(engine: Engine, text: str, row: Row) -> Value:
    values: dict[str, Value] = {
        name: None if number is None else Decimal(text_of(number, SCALES[name]))
        for name, number in row.items()
    }
    value: Value = computed(engine, formula(text), values)
    return value


@given(spoken=spoken_formulas, row=rows)
def test_a_formula_is_exact(engine: Engine, spoken: Spoken, row: Row) -> None:
    text, meaning = spoken
    try:
        expected = meaning(row)
    except TooLarge:
        assume(False)
    value = run(engine, text, row)
    assert (None if value is None else Fraction(value)) == expected, text


wide = st.integers(-(10**38) + 1, 10**38 - 1).map(lambda count: Fraction(count, 10**15))
near = st.sampled_from([Fraction(n, 10**15) for n in (1, 2, 3, 5, 10**15 - 1, 10**15, 10**15 + 1)])


@given(a=st.one_of(wide, near), b=st.one_of(wide, near, ties(15, 6)))
def test_products_and_quotients_of_the_widest_numbers(
    engine: Engine, a: Fraction, b: Fraction
) -> None:
    for operation in "*/":
        exact = None if operation == "/" and b == 0 else (a * b if operation == "*" else a / b)
        if operation == "/" and abs(b) >= 10**18:
            continue
        expected = None if exact is None else half_up(exact, 15)
        if expected is not None and abs(expected) >= LARGEST:
            expected = None
        parsed = formula(f"balance {operation} amount('support', 'root')")
        values: dict[str, Value] = {
            "balance": Decimal(text_of(a, 15)),
            "amount('support', 'root')": Decimal(text_of(b, 15)),
        }
        value = computed(engine, parsed, values)
        assert (None if value is None else Fraction(value)) == expected


@pytest.mark.parametrize(
    "divisor",
    ["3", "7", "0.3", "0.000000000000007", "97", "60", "1000000", "8", "0.04", "-2.5", "1"],
)
def test_every_quotient_of_a_small_whole_is_rounded_half_up(engine: Engine, divisor: str) -> None:
    sql = formula(f"quantity / {divisor}").sql(str)
    listed = engine.rows(f"SELECT quantity, {sql} FROM range(-500, 501) AS t(quantity)")
    for quantity, quotient in listed:
        assert Fraction(quotient) == half_up(Fraction(quantity) / Fraction(divisor), 15)


def months_later(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    for last in (31, 30, 29, 28):
        try:
            return date(year, month + 1, min(day.day, last))
        except ValueError:
            continue
    raise AssertionError


days = st.dates(date(1990, 1, 1), date(2060, 12, 31))


@given(start=days, end=days)
def test_months_between_dates_are_complete_months(engine: Engine, start: date, end: date) -> None:
    given_days: dict[str, Value] = {"cycle.start": start, "cycle.end": end}
    months = computed(engine, formula("date_diff('month', cycle.start, cycle.end)"), given_days)
    first, last = min(start, end), max(start, end)
    count = abs(int(months))
    assert months_later(first, count) <= last < months_later(first, count + 1)
    assert months == 0 or (months > 0) == (end > start)
    day_count = computed(engine, formula("date_diff('day', cycle.start, cycle.end)"), given_days)
    assert day_count == (end - start).days
