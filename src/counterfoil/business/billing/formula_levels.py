"""Rates items whose formulas read what other items cost: level by level, by the same statements.

Level 0 reads no amounts of items that are rated here, level 1 only those of level 0, and so on.
Without formulas there is one level and nothing of this is run.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from counterfoil.business.billing.relations import midnight_relation
from counterfoil.business.products.formulas import vocabulary_of
from counterfoil.core.formulas.formula import parse_formula
from counterfoil.core.formulas.order import evaluation_levels
from counterfoil.core.formulas.vocabulary import (
    BOOLEAN,
    DATE,
    TEXT,
    Kind,
    Type,
    number,
)
from counterfoil.core.problems import Refused
from counterfoil.core.rating.attributes import READ_ATTRIBUTES, attribute_statements
from counterfoil.core.rating.formula_prices import (
    FORMULA_FAULT,
    FORMULA_TRACE,
    Formulas,
    conditions,
)
from counterfoil.core.rating.formula_values import KNOWN_AMOUNT, Meaning, PlacedFormula
from counterfoil.platform.engine.duck import Engine
from counterfoil.platform.metadata import Record

RETURNS = {
    "condition": Kind.BOOLEAN,
    "quantity_formula": Kind.NUMBER,
    "price_formula": Kind.NUMBER,
    "price_condition": Kind.BOOLEAN,
    "discount_condition": Kind.BOOLEAN,
    "discount_percent": Kind.NUMBER,
}
_FIELDS = {"price_formula": "formula", "price_condition": "condition"}

FORMULA_RESULTS = (FORMULA_TRACE, FORMULA_FAULT)
"""What formulas add to the results of a rating; empty without formulas."""


def parse_placed(rows: Iterable[Record], fields: Mapping[str, Type]) -> list[PlacedFormula]:
    """The formulas of rows of ``formula``; ``fields`` are the owners' fields there are.

    Refuses one that is no longer right, because a field it reads is gone.
    """
    parsed: dict[tuple[str, str], PlacedFormula] = {}
    found = []
    for row in rows:
        place, text = str(row["place"]), str(row["text"])
        same = parsed.get((place, text))
        if same is None:
            vocabulary = vocabulary_of(_FIELDS.get(place, place), fields, None)
            formula, problems = parse_formula(
                text, returns=RETURNS[place], vocabulary=vocabulary, field=place
            )
            if formula is None:
                raise Refused(problems)
            same = PlacedFormula(place, row["charge_id"], row["price_id"], formula)
            parsed[place, text] = same
        found.append(PlacedFormula(place, row["charge_id"], row["price_id"], same.formula))
    return found


def read_formulas(engine: Engine, *, of_discounts: bool = False) -> Formulas:
    """The formulas on the engine, those of charges or those of discounts, ready to be evaluated."""
    if not engine.has_rows("formula"):
        return Formulas((), {})
    columns = ("place", "charge_id", "price_id", "text")
    rows = engine.rows(
        "SELECT place, charge_id, price_id, text FROM formula "
        f"WHERE charge_id {'=' if of_discounts else '<>'} 0 ORDER BY ALL"
    )
    if not rows:
        return Formulas((), {})
    fields = {str(row[0]): _type_of(str(row[1])) for row in engine.rows("DESCRIBE formula_fact")}
    placed = parse_placed((dict(zip(columns, row, strict=True)) for row in rows), fields)
    meanings: dict[tuple[str, str], Meaning] = {}
    for lookup, name, each, aggregation in engine.rows(
        "SELECT lookup, name, id, aggregation FROM formula_name ORDER BY ALL"
    ):
        known = meanings.get((lookup, name), Meaning())
        meanings[lookup, name] = Meaning((*known.ids, each), aggregation)
    return Formulas(tuple(placed), meanings)


def _type_of(column: str) -> Type:
    """The formula type of a column of ``formula_fact``."""
    if column.startswith("DECIMAL"):
        precision, scale = column[8:-1].split(",")
        return number(int(precision), int(scale))
    return {"BIGINT": number(19, 0), "BOOLEAN": BOOLEAN, "DATE": DATE}.get(column, TEXT)


@dataclass(frozen=True, slots=True)
class Levels:
    """Charges level by level. Those of the last one, when ``stuck`` says why, wait for each other:
    what is rated of them is not to be used."""

    charges: list[list[int]]
    stuck: str = ""


def with_filtered_usage(engine: Engine, formulas: Formulas) -> Formulas:
    """The formulas, reading usage as its meters count it: through their filters, and by the
    attribute that is the quantity, where any have these."""
    names = tuple(str(name) for (name,) in engine.rows(READ_ATTRIBUTES))
    if not names:
        return formulas
    for statement in attribute_statements(names, read=True):
        engine.run(statement.create)
    return replace(formulas, usage="counted_usage")


def levels_of(
    formulas: Formulas, charges: Sequence[int], together: Iterable[tuple[int, int]] = ()
) -> Levels:
    """In which order the charges are rated; ``together`` are pairs of a group and a charge, all
    charges of a group being rated at once."""
    waits_for: dict[str, set[str]] = {str(charge): set() for charge in charges}
    for placed in formulas.placed:
        for reference in placed.formula.calls("amount"):
            meaning = formulas.meanings.get(("amount", reference.arguments[0]), Meaning())
            waits_for.setdefault(str(placed.charge_id), set()).update(map(str, meaning.ids))
    groups: dict[int, list[str]] = {}
    for group, charge in together:
        groups.setdefault(group, []).append(str(charge))
    for members in groups.values():
        wanted = set().union(*(waits_for[member] for member in members))
        waits_for.update((member, wanted) for member in members)
    levels, problems = evaluation_levels(waits_for)
    found: list[list[int]] = [[] for _ in range(max(levels.values(), default=-1) + 1)]
    for charge in charges:
        if str(charge) in levels:
            found[levels[str(charge)]].append(charge)
    stuck = [charge for charge in charges if str(charge) not in levels]
    told = "; ".join(problem.message for problem in problems)
    return Levels([level for level in (*found, stuck) if level], told if stuck else "")


_EDGES = """
SELECT DISTINCT time_zone, unnest([service_start, service_end]) FROM charge_item
WHERE charge_id IN ({charges})
"""

# What draws on the same allowance stands in one line of events.
_TOGETHER = """
SELECT DISTINCT a.allowance_id, i.charge_id FROM allowance_item a JOIN every_item i USING (item_id)
"""

_RATED_AMOUNT = """
INSERT INTO main.rated_amount
SELECT i.subscription_id, i.charge_id, i.currency, r.service_start, r.exact_amount
FROM rated r JOIN charge_item i USING (item_id)
"""


def rate_by_levels(
    engine: Engine,
    formulas: Formulas,
    results: Sequence[str],
    rate: Callable[[Formulas], None],
) -> None:
    """Rate ``charge_item`` level by level and make ``results``, and ``usage_epoch``, of all levels
    together.

    ``rate`` makes them of the items of one level, with its formulas. Each level has a schema of its
    own, in which it finds its own relations before those of the others.
    """
    engine.run("CREATE TABLE every_item AS SELECT * FROM charge_item")
    charges = [int(row[0]) for row in engine.rows("SELECT DISTINCT charge_id FROM every_item")]
    columns = ", ".join(f"{name} {kind}" for name, kind in KNOWN_AMOUNT.columns.items())
    engine.run(f"CREATE TABLE rated_amount ({columns})")
    with_formulas = sorted({placed.charge_id for placed in formulas.placed})
    edges = engine.rows(_EDGES.format(charges=", ".join(map(str, with_formulas))))
    engine.register("known_midnight", midnight_relation(edges))
    levels = levels_of(formulas, charges, engine.rows(_TOGETHER))
    formulas = with_filtered_usage(engine, formulas)
    engine.run("CREATE TABLE charge_level (charge_id BIGINT, level BIGINT)")
    for level, of_level in enumerate(levels.charges):
        rows = ", ".join(f"({charge}, {level})" for charge in of_level)
        engine.run(f"INSERT INTO main.charge_level VALUES {rows}")
        engine.run(f"CREATE SCHEMA level_{level}")
        engine.look_into(f"level_{level}")
        _rate_level(engine, formulas.of_charges(of_level), of_level, rate)
    if levels.stuck:
        told = levels.stuck.replace("'", "''")
        engine.run(
            "CREATE OR REPLACE TABLE formula_fault AS "
            f"SELECT item_id, 'formula' AS place, '{told}' AS told FROM charge_item"
        )
    engine.look_into()
    engine.unregister("charge_item")
    for name in (*results, "usage_epoch"):
        parts = " UNION ALL BY NAME ".join(
            f"SELECT * FROM level_{level}.{name}" for level in range(len(levels.charges))
        )
        engine.run(f"CREATE TABLE main.{name} AS {parts}")


def look_at_level(engine: Engine, subscription_charge: int) -> None:
    """After a rating, find the relations that were made on the way for this subscription charge,
    where there are levels."""
    if not engine.rows("SELECT 1 FROM duckdb_tables() WHERE table_name = 'charge_level'"):
        return
    (level,) = engine.row(
        "SELECT level FROM charge_level JOIN every_item USING (charge_id) "
        f"WHERE subscription_charge_id = {int(subscription_charge)}"
    )
    engine.look_into(f"level_{level}")


def _rate_level(
    engine: Engine,
    formulas: Formulas,
    charges: Sequence[int],
    rate: Callable[[Formulas], None],
) -> None:
    chosen = f"SELECT * FROM every_item WHERE charge_id IN ({', '.join(map(str, charges))})"
    engine.run(f"CREATE TABLE formula_item AS {chosen}")
    for statement in conditions(formulas):
        engine.run(statement.create)
    met = engine.arrow(f"{chosen} AND item_id NOT IN (SELECT item_id FROM unmet_item)")
    # What is registered comes before any schema.
    engine.register("charge_item", met)
    rate(formulas)
    engine.run(_RATED_AMOUNT)
