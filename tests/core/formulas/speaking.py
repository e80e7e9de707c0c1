"""The vocabulary of the tests, and an engine to run a formula on one row of values."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from counterfoil.core.formulas.formula import Formula, parse_formula
from counterfoil.core.formulas.vocabulary import (
    BOOLEAN,
    DATE,
    SCOPES,
    TEXT,
    Kind,
    Lookup,
    Reference,
    Value,
    Vocabulary,
    number,
)
from counterfoil.platform.engine.duck import Engine

VOCABULARY = Vocabulary(
    variables={
        "quantity": number(28, 10),
        "price": number(18, 15),
        "balance": number(),
        "contract.months": number(6, 0),
        "contract.start": DATE,
        "cycle.start": DATE,
        "cycle.end": DATE,
        "account.country": TEXT,
        "account.reseller": BOOLEAN,
    },
    lookups={
        "usage": Lookup(number(28, 10), frozenset({"minutes", "hd_minutes"}), SCOPES),
        "quantity": Lookup(number(28, 10), frozenset({"seats", "rooms"}), SCOPES),
        "amount": Lookup(number(), frozenset({"managed_room", "support"}), SCOPES),
        "attribute": Lookup(TEXT, types={"seconds": number(18, 6)}),
    },
)
PLAIN = Vocabulary(variables={"quantity": number(28, 10)})
"""Where only the quantity is known: no lookups."""

COLUMN_TYPES = {Kind.TEXT: "VARCHAR", Kind.BOOLEAN: "BOOLEAN", Kind.DATE: "DATE"}


def formula(text: str, returns: Kind = Kind.NUMBER) -> Formula:
    parsed, problems = parse_formula(text, returns=returns, vocabulary=VOCABULARY)
    assert parsed is not None, [str(problem) for problem in problems]
    return parsed


def reference(text: str) -> Reference:
    """``quantity`` or ``usage('minutes', 'root')`` as a reference."""
    name, _, arguments = text.rstrip(")").partition("(")
    return Reference(name, tuple(part.strip(" '") for part in arguments.split(",") if part))


def computed(engine: Engine, parsed: Formula, values: Mapping[str, Value]) -> Any:
    """What the formula yields for one row of values, whose columns have the declared types."""
    given = {reference(name): value for name, value in values.items()}
    columns = {ref: f"c{number}" for number, ref in enumerate(parsed.references)}
    row = ", ".join(
        f"CAST({value_sql(given[ref])} AS {column_type(ref)}) AS {column}"
        for ref, column in columns.items()
    )
    source = f"(SELECT {row})" if row else "(SELECT 1)"
    return engine.row(f"SELECT {parsed.sql(columns.__getitem__)} FROM {source}")[0]


def column_type(ref: Reference) -> str:
    if ref.type.kind is Kind.NUMBER:
        return f"DECIMAL({ref.type.precision},{ref.type.scale})"
    return COLUMN_TYPES[ref.type.kind]


def value_sql(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date):
        return f"DATE '{value}'"
    if isinstance(value, bool):
        return str(value)
    return "'" + value.replace("'", "''") + "'"
