"""Formulas in PostgreSQL have the values that they have in the engine, to the last digit."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, assume, given, settings
from sqlalchemy import Connection
from tests.core.formulas import test_exact_arithmetic as exact
from tests.core.formulas import test_examples as examples
from tests.core.formulas.speaking import column_type, formula, reference, value_sql

from counterfoil.bootstrap import Settings, database_server
from counterfoil.core.formulas.formula import Formula
from counterfoil.core.formulas.vocabulary import Kind, Value
from counterfoil.platform.records.database import build_engine


@pytest.fixture(scope="module")
def connection(server: Settings) -> Iterator[Connection]:
    """A connection for SELECTs without tables."""
    with database_server(server) as url:
        engine = build_engine(url)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as opened:
            yield opened
        engine.dispose()


def computed(connection: Connection, parsed: Formula, values: Mapping[str, Value]) -> object:
    """What the formula yields for one row of values, whose columns have the declared types."""
    known = {reference(name): value for name, value in values.items()}
    columns = {ref: f"c{number}" for number, ref in enumerate(parsed.references)}
    row = ", ".join(
        f"CAST({value_sql(known[ref])} AS {column_type(ref)}) AS {column}"
        for ref, column in columns.items()
    )
    sql = parsed.postgres_sql(columns.__getitem__)
    statement = f"SELECT {sql} FROM (SELECT {row or '1 AS one'}) AS given"
    return connection.exec_driver_sql(statement.replace("%", "%%")).scalar()


TABLES = {
    Kind.NUMBER: examples.NUMBERS,
    Kind.BOOLEAN: examples.CONDITIONS,
    Kind.TEXT: examples.TEXTS,
    Kind.DATE: examples.DATES,
}
ROWS = [(kind, row) for kind, table in TABLES.items() for row in examples.rows(table)]


@pytest.mark.parametrize(("kind", "row"), ROWS, ids=" | ".join)
def test_the_examples(connection: Connection, kind: Kind, row: tuple[str, ...]) -> None:
    text, given_values, expected = row
    found = computed(connection, formula(text, kind), examples.values(given_values))
    assert found == examples.value(expected)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spoken=exact.spoken_formulas, row=exact.rows)
def test_a_formula_is_exact(connection: Connection, spoken: exact.Spoken, row: exact.Row) -> None:
    text, meaning = spoken
    try:
        expected = meaning(row)
    except exact.TooLarge:
        assume(False)
    values: dict[str, Value] = {
        name: None if number is None else Decimal(exact.text_of(number, exact.SCALES[name]))
        for name, number in row.items()
    }
    value = computed(connection, formula(text), values)
    assert (None if value is None else Fraction(str(value))) == expected, text


@given(a=exact.wide, b=exact.wide)
def test_the_widest_numbers(connection: Connection, a: Fraction, b: Fraction) -> None:
    for operation in "*/":
        if operation == "/" and b == 0:
            continue
        right = exact.half_up(a * b if operation == "*" else a / b, 15)
        literals = [f"({exact.text_of(number, 15)})" for number in (a, b)]
        value = computed(connection, formula(f" {operation} ".join(literals)), {})
        expected = right if abs(right) < exact.LARGEST else None
        assert (None if value is None else Fraction(str(value))) == expected


@given(start=exact.days, end=exact.days)
def test_complete_months(connection: Connection, start: exact.date, end: exact.date) -> None:
    values: dict[str, Value] = {"cycle.start": start, "cycle.end": end}
    parsed = formula("date_diff('month', cycle.start, cycle.end)")
    months = int(Decimal(str(computed(connection, parsed, values))))
    first, last = min(start, end), max(start, end)
    assert (
        exact.months_later(first, abs(months)) <= last < exact.months_later(first, abs(months) + 1)
    )
    assert months == 0 or (months > 0) == (end > start)


@pytest.mark.parametrize(
    "text", ["12.5", " -12.5 ", "1e5", "NaN", "Infinity", "12,5", "", "1.", ".5", "٣", "9" * 60]
)
def test_texts_that_are_no_numbers_have_no_value(connection: Connection, text: str) -> None:
    parsed = formula("cast(attribute('number') as decimal(10,2))")
    right = {"12.5": Decimal("12.5"), " -12.5 ": Decimal("-12.5"), "1.": Decimal(1)}
    right[".5"] = Decimal("0.5")
    found = computed(connection, parsed, {"attribute('number')": text})
    assert found == right.get(text)


@pytest.mark.parametrize(
    "text", ["2026-02-29", "2026-13-01", "0000-01-01", "2026-1", "soon", "2026-02-01x", ""]
)
def test_texts_that_are_no_dates_have_no_value(connection: Connection, text: str) -> None:
    parsed = formula("cast(attribute('day') as date)", Kind.DATE)
    assert computed(connection, parsed, {"attribute('day')": text}) is None


def test_deep_formulas_are_planned_in_reasonable_time(connection: Connection) -> None:
    text = "quantity"
    for _ in range(12):
        text = f"greatest({text} / 3, {text[:0]}price) * 1.1"
    values: dict[str, Value] = {"quantity": Decimal(5), "price": Decimal(2)}
    assert computed(connection, formula(text), values) is not None
