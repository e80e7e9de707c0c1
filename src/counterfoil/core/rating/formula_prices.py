"""What formulas decide: which charges and prices count, and what a quantity costs.

A price of the model formula is a function G of the cycle's total quantity like any other, so a
stretch costs G(after) - G(before) here too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from counterfoil.core.formulas.formula import Formula
from counterfoil.core.formulas.vocabulary import Reference
from counterfoil.core.rating.formula_values import (
    QUANTITY_ASKED,
    Meanings,
    PlacedFormula,
    column_of,
    formula_inputs,
    references_of,
    told_sql,
    values_sql,
)
from counterfoil.core.rating.relations import AMOUNT, PRODUCT, QUANTITY, Relation, Statement

CONDITION = "condition"
PRICE_FORMULA, PRICE_CONDITION = "price_formula", "price_condition"

FORMULA_TRACE = Relation(
    "formula_trace",
    {"item_id": "BIGINT", "epoch_no": "BIGINT", "formulas": "VARCHAR"},
    "The formulas that decided, as a JSON array.",
)
FORMULA_FAULT = Relation(
    "formula_fault",
    {"item_id": "BIGINT", "place": "VARCHAR", "told": "VARCHAR"},
    "Items of which a formula has no value, with the formula as it was asked.",
)


@dataclass(frozen=True)
class Formulas:
    """The formulas of some charges and their prices, to be evaluated together."""

    placed: tuple[PlacedFormula, ...]
    meanings: Meanings

    def of_charges(self, charges: Iterable[int]) -> "Formulas":
        """Those of some charges only."""
        chosen = frozenset(charges)
        return Formulas(
            tuple(placed for placed in self.placed if placed.charge_id in chosen), self.meanings
        )

    def at(self, place: str) -> tuple[PlacedFormula, ...]:
        """Those that stand in one place."""
        return tuple(placed for placed in self.placed if placed.place == place)

    @property
    def columns(self) -> dict[Reference, str]:
        """Where the values of their references stand: columns of ``formula_input v``."""
        return column_of(references_of(self.placed))


NO_FORMULAS = Formulas((), {})


def conditions(formulas: Formulas) -> tuple[Statement, ...]:
    """Make ``formula_input`` and ``unmet_item``: item_id of the items in ``formula_item`` whose
    charge's condition is not met. Needs what core.rating.formula_values tells."""
    columns = formulas.columns
    unmet = [
        f"SELECT v.item_id FROM formula_input v JOIN formula_item i USING (item_id) "
        f"WHERE i.charge_id IN ({_ids(charges)}) AND {_is_unmet(formula, columns)}"
        for formula, charges in _by_text(formulas.at(CONDITION), lambda placed: placed.charge_id)
    ]
    return (
        *formula_inputs(formulas.placed, formulas.meanings),
        Statement("unmet_item", _union(unmet, "SELECT NULL::BIGINT AS item_id WHERE false")),
    )


def unmet_prices(formulas: Formulas) -> Statement:
    """Makes ``unmet_price``: item_id and price_id where the price's condition is not met."""
    columns = formulas.columns
    unmet = [
        f"SELECT v.item_id, p.price_id FROM formula_input v JOIN formula_item i USING (item_id) "
        f"JOIN price p ON p.charge_id = i.charge_id "
        f"WHERE p.price_id IN ({_ids(prices)}) AND {_is_unmet(formula, columns)}"
        for formula, prices in _by_text(formulas.at(PRICE_CONDITION), _price_of)
    ]
    return Statement(
        "unmet_price",
        _union(unmet, "SELECT NULL::BIGINT AS item_id, NULL::BIGINT AS price_id WHERE false"),
    )


def _is_unmet(formula: Formula, columns: Mapping[Reference, str]) -> str:
    """A condition without value is not met."""
    return f"NOT coalesce({formula.sql(columns.__getitem__)}, false)"


_POINTS = {
    "after": ("quantity_after", "true"),
    "before": ("quantity_before", "p.continues"),
    "list_after": ("list_after", "p.list_after IS NOT NULL"),
    "list_before": ("list_before", "p.list_before IS NOT NULL AND p.continues"),
}


def _formula_point(*, by_event: bool) -> Statement:
    """The quantities at which formulas are asked: both ends of every position."""
    branches = [
        f"SELECT p.position_id, p.item_id, p.epoch_no, e.price_id, '{end}' AS stands, "
        f"CAST(greatest(p.{column}, 0) AS {QUANTITY}) AS quantity "
        "FROM position p JOIN price_epoch e USING (item_id, epoch_no) "
        f"JOIN price r ON r.price_id = e.price_id WHERE r.model = 'formula' AND {condition}"
        for end, (column, condition) in _POINTS.items()
        if by_event or not end.startswith("list_")
    ]
    return Statement("formula_point", " UNION ALL ".join(branches))


def formula_steps(formulas: Formulas, *, by_event: bool) -> tuple[Statement, ...]:
    """Make ``formula_step``, rows of ``tier_step`` for the positions whose price is a formula, and
    ``formula_fault``: item_id, place, told (the formula with its values) of the items whose price
    has no value. What was priced for these is not to be used."""
    columns = {**formulas.columns, QUANTITY_ASKED: "q.quantity"}
    values = [
        f"SELECT q.*, {formula.sql(columns.__getitem__)} AS value, "
        f"{told_sql(formula, columns)} AS told, {_quoted(formula.text)} AS text, "
        f"{values_sql(formula, columns)} AS given "
        f"FROM formula_point q JOIN formula_input v USING (item_id) "
        f"WHERE q.price_id IN ({_ids(prices)})"
        for formula, prices in _by_text(formulas.at(PRICE_FORMULA), _price_of)
    ]
    nothing = (
        f"SELECT q.*, NULL::{QUANTITY} AS value, NULL AS told, NULL AS text, NULL::JSON AS given "
        "FROM formula_point q WHERE false"
    )
    at = {end: f"max(value) FILTER (stands = '{end}')" for end in _POINTS}
    step = f"""
SELECT position_id, 0::DECIMAL(28,6) AS from_quantity, NULL::DECIMAL(28,6) AS up_to,
       NULL::{AMOUNT} AS unit_amount, 0::{QUANTITY} AS units, 0 AS flats,
       0::DECIMAL(32,10) AS flat_amount,
       CAST(coalesce({at["after"]}, 0) - coalesce({at["before"]}, 0) AS {PRODUCT}) AS amount,
       CAST({at["list_after"]} - coalesce({at["list_before"]}, 0) AS {PRODUCT}) AS list_amount
FROM formula_value GROUP BY position_id
"""
    fault = "SELECT item_id, 'price_formula' AS place, told FROM formula_value WHERE value IS NULL"
    return (
        _formula_point(by_event=by_event),
        Statement("formula_value", _union(values, nothing)),
        Statement("formula_step", step),
        Statement("formula_fault", fault),
    )


def formula_trace(formulas: Formulas) -> Statement:
    """Makes ``formula_trace``: item_id, epoch_no, formulas: a JSON array with an object for every
    formula that decided. place, formula, told (with the values put in), values, result; of a price
    ``before``, what the quantity before cost, where something was before."""
    columns = formulas.columns
    entries = [
        f"SELECT v.item_id, e.epoch_no, 1, {_told(CONDITION, formula, columns)} "
        "FROM formula_input v JOIN charge_item i USING (item_id) "
        f"JOIN price_epoch e USING (item_id) WHERE i.charge_id IN ({_ids(charges)})"
        for formula, charges in _by_text(formulas.at(CONDITION), lambda placed: placed.charge_id)
    ]
    entries += [
        f"SELECT v.item_id, e.epoch_no, 2, {_told(PRICE_CONDITION, formula, columns)} "
        "FROM formula_input v JOIN price_epoch e USING (item_id) "
        f"WHERE e.price_id IN ({_ids(prices)})"
        for formula, prices in _by_text(formulas.at(PRICE_CONDITION), _price_of)
    ]
    # Of several positions (events) the last tells what the cycle came to.
    entries.append(
        "SELECT a.item_id, a.epoch_no, 4, json_object('place', 'price_formula', "
        "'formula', a.text, 'told', a.told, 'values', a.given, 'result', a.value, "
        "'before', CASE WHEN a.positions = 1 THEN b.value END) "
        "FROM (SELECT *, count(*) OVER epoch AS positions FROM formula_value "
        "      WHERE stands = 'after' WINDOW epoch AS (PARTITION BY item_id, epoch_no) "
        "      QUALIFY row_number() OVER (PARTITION BY item_id, epoch_no "
        "                                 ORDER BY quantity DESC, position_id DESC) = 1) a "
        "LEFT JOIN formula_value b ON b.position_id = a.position_id AND b.stands = 'before'"
    )
    sql = (
        "SELECT item_id, epoch_no, CAST(to_json(list(entry ORDER BY place_no)) AS VARCHAR) "
        f"AS formulas FROM ({' UNION ALL '.join(entries)}) t(item_id, epoch_no, place_no, entry) "
        "GROUP BY item_id, epoch_no"
    )
    return Statement("formula_trace", sql)


def _told(place: str, formula: Formula, columns: Mapping[Reference, str]) -> str:
    return (
        f"json_object('place', '{place}', 'formula', {_quoted(formula.text)}, "
        f"'told', {told_sql(formula, columns)}, 'values', {values_sql(formula, columns)}, "
        f"'result', {formula.sql(columns.__getitem__)})"
    )


def _by_text(
    placed: Sequence[PlacedFormula], owner: Callable[[PlacedFormula], int]
) -> list[tuple[Formula, list[int]]]:
    """Each formula once, with the ids it stands at."""
    found: dict[str, tuple[Formula, list[int]]] = {}
    for each in placed:
        found.setdefault(each.formula.text, (each.formula, []))[1].append(owner(each))
    return list(found.values())


def _price_of(placed: PlacedFormula) -> int:
    return placed.price_id or 0


def _ids(ids: Iterable[int]) -> str:
    return ", ".join(str(each) for each in sorted(ids))


def _union(branches: Sequence[str], nothing: str) -> str:
    return " UNION ALL ".join(branches) if branches else nothing


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
