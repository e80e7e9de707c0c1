"""Prices that are formulas, among others of all kinds, against the slow reference."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.rating.reference import Item, Price, Rated, rate
from tests.core.rating.test_engine_equals_reference import cases, load, rank

from counterfoil.core.formulas.formula import parse_formula
from counterfoil.core.formulas.vocabulary import Kind, Vocabulary, number
from counterfoil.core.rating.formula_prices import PRICE_FORMULA, Formulas
from counterfoil.core.rating.formula_values import PlacedFormula
from counterfoil.core.rating.statements import Needs, price_statements, rating_statements
from counterfoil.platform.engine.duck import Engine, open_engine

Cost = Callable[[Fraction], Fraction]

FORMULAS: dict[str, Cost] = {
    "quantity * 0.0125": lambda q: q * Fraction("0.0125"),
    "case when quantity > 3 then 5 + quantity else 0.5 end": lambda q: (
        5 + q if q > 3 else Fraction("0.5")
    ),
    "greatest(quantity - 2, 0) * 0.335": lambda q: max(q - 2, Fraction(0)) * Fraction("0.335"),
    "least(quantity, 40) / 8": lambda q: min(q, Fraction(40)) / 8,
}
WORDS = Vocabulary({"quantity": number()})


@st.composite
def books_with_formulas(
    draw: Any,
) -> tuple[list[Item], dict[int, list[Price]], dict[int, str]]:
    """Items billed for the first time; of each the list price is a formula."""
    chosen, drawn = draw(cases())
    books = {item: [price for price in book if not price.partial] for item, book in drawn.items()}
    texts = {item.item_id: draw(st.sampled_from(sorted(FORMULAS))) for item in chosen}
    for item_id, book in books.items():
        book[0] = replace(
            book[0],
            model="formula",
            package_size=None,
            included=Fraction(0),
            tiers=(),
            formula=FORMULAS[texts[item_id]],
        )
    # A quotient is rounded over the whole cycle where it is priced anew, over each epoch in the
    # reference: they may differ by 10**-15 of a unit, so units here are whole.
    return [replace(item, billed=(), unit_size=1) for item in chosen], books, texts


@given(books_with_formulas())
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_formulas_cost_what_the_reference_says(
    case: tuple[list[Item], dict[int, list[Price]], dict[int, str]],
) -> None:
    chosen, books, texts = case
    expected = [row for item in chosen for row in rate(item, books[item.item_id], rank)]
    with open_engine(threads=1) as engine:
        load(engine, chosen, books)
        assert rated(engine, texts) == expected


def rated(engine: Engine, texts: dict[int, str]) -> list[Rated]:
    placed = []
    for item_id, text in texts.items():
        formula, problems = parse_formula(text, returns=Kind.NUMBER, vocabulary=WORDS)
        assert formula is not None, problems
        placed.append(PlacedFormula(PRICE_FORMULA, item_id, item_id * 100 + 1, formula))
    engine.run("CREATE TABLE formula_input AS SELECT item_id FROM charge_item")
    for statement in price_statements(Needs()):
        engine.run(statement.create)
    engine.run(
        "CREATE TABLE midnight AS SELECT DISTINCT 'UTC' AS time_zone, d AS day, "
        "CAST(d AS TIMESTAMP) AS instant FROM (SELECT unnest([epoch_start, epoch_end]) AS d "
        "FROM price_epoch UNION SELECT unnest([counted_from, service_start, cycle_start, "
        "cycle_end]) FROM charge_item)"
    )
    aggregations = engine.rows("SELECT DISTINCT aggregation FROM charge_item WHERE kind = 'usage'")
    needs = Needs(
        aggregations=tuple(sorted(row[0] for row in aggregations)),
        formulas=Formulas(tuple(placed), {}),
    )
    for statement in rating_statements(needs):
        engine.run(statement.create)
    rows = engine.rows(
        "SELECT r.item_id, r.service_start, r.service_end, r.price_id % 100, r.quantity, "
        "r.exact_amount, r.amount, i.minor_digits "
        "FROM rated r JOIN charge_item i USING (item_id) ORDER BY r.item_id, r.epoch_no"
    )
    return [
        Rated(
            *row[:4],
            Fraction(row[4]),
            row[5].quantize(Decimal("1e-15")),
            row[6].quantize(Decimal(1).scaleb(-row[7])),
        )
        for row in rows
    ]
