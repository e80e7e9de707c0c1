"""What formulas decide: which charges and prices count, and what a quantity costs.

A price of the model formula is a function G of the cycle's total quantity like any other, so a
stretch costs G(after) - G(before) here too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from counterfoil.core.formulas.formula import Formula
from counterfoil.core.formulas.vocabulary import Kind, Reference
from counterfoil.core.rating.formula_values import (
    QUANTITY_ASKED,
    Meanings,
    PlacedFormula,
    column_of,
    formula_inputs,
    references_of,
    told_sql,
    trace_sql,
    traces_sql,
)
from counterfoil.core.rating.relations import AMOUNT, PRODUCT, QUANTITY, Relation, Statement

CONDITION, QUANTITY_FORMULA = "condition", "quantity_formula"
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
    """The formulas of some charges and their prices, to be evaluated together.

    ``usage`` names the relation of the usage they read: with the filters of meters, where any have.
    """

    placed: tuple[PlacedFormula, ...]
    meanings: Meanings
    usage: str = "usage"

    def of_charges(self, charges: Iterable[int]) -> "Formulas":
        """Those of some charges only."""
        chosen = frozenset(charges)
        placed = tuple(placed for placed in self.placed if placed.charge_id in chosen)
        return replace(self, placed=placed)

    def at(self, place: str) -> tuple[PlacedFormula, ...]:
        """Those that stand in one place."""
        return tuple(placed for placed in self.placed if placed.place == place)

    @property
    def pricing(self) -> frozenset[int]:
        """The charges of which a formula says what they cost, or how much of them is priced."""
        return frozenset(
            placed.charge_id
            for placed in self.placed
            if placed.place in (QUANTITY_FORMULA, PRICE_FORMULA)
        )

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
        for formula, charges in formulas_by_text(formulas.at(CONDITION), _charge_of)
    ]
    return (
        *formula_inputs(formulas.placed, formulas.meanings, formulas.usage),
        Statement("unmet_item", union(unmet, "SELECT NULL::BIGINT AS item_id WHERE false")),
    )


def unmet_prices(formulas: Formulas) -> Statement:
    """Makes ``unmet_price``: item_id and price_id where the price's condition is not met."""
    columns = formulas.columns
    unmet = [
        f"SELECT v.item_id, p.price_id FROM formula_input v JOIN formula_item i USING (item_id) "
        f"JOIN price p ON p.charge_id = i.charge_id "
        f"WHERE p.price_id IN ({_ids(prices)}) AND {_is_unmet(formula, columns)}"
        for formula, prices in formulas_by_text(formulas.at(PRICE_CONDITION), _price_of)
    ]
    return Statement(
        "unmet_price",
        union(unmet, "SELECT NULL::BIGINT AS item_id, NULL::BIGINT AS price_id WHERE false"),
    )


def _is_unmet(formula: Formula, columns: Mapping[Reference, str]) -> str:
    """A condition without value is not met."""
    return f"NOT coalesce({formula.sql(columns.__getitem__)}, false)"


def _point(relation: str, end: str, condition: str) -> str:
    """SELECT of the quantity at one end of the positions."""
    return (
        f"SELECT p.position_id, p.item_id, p.epoch_no, e.price_id, '{end}' AS stands, "
        f"CAST(greatest(p.{_COLUMNS[end]}, 0) AS {QUANTITY}) AS quantity "
        f"FROM {relation} p JOIN price_epoch e USING (item_id, epoch_no) WHERE {condition}"
    )


_COLUMNS = {
    "after": "quantity_after",
    "before": "quantity_before",
    "list_after": "list_after",
    "list_before": "list_before",
    "reach": "reach",
    "list_reach": "list_reach",
    "peak_after": "peak_after",
    "peak_before": "peak_before",
}
"""The columns of ``position`` that hold a quantity of the cycle."""
_ENDS = ("after", "before")
_DETAILED = ("list_after", "list_before", "reach", "list_reach")
_STOOD = ("peak_after", "peak_before")


def _ends(*, detailed: bool, stood: bool) -> tuple[str, ...]:
    return (*_ENDS, *(_DETAILED if detailed else ()), *(_STOOD if stood else ()))


def _asked(asked: str, chosen: str, formulas: Formulas, place: str, what: str) -> list[str]:
    """SELECTs of ``what`` (text with {sql}, {told} and {entry}) at the points q of the
    relation ``asked``, one for each formula in a place. ``chosen`` says whose points: "price_id",
    or "charge_id" of the item i."""
    columns = {**formulas.columns, QUANTITY_ASKED: "q.quantity"}
    owner = _price_of if chosen == "price_id" else _charge_of
    joined = "" if chosen == "price_id" else "JOIN charge_item i USING (item_id) "
    alias = "q" if chosen == "price_id" else "i"
    return [
        "SELECT "
        + what.format(
            sql=formula.sql(columns.__getitem__),
            told=told_sql(formula, columns),
            entry=trace_sql(
                place, formula, columns, result=(Kind.NUMBER, "q.value"), before="q.value_before"
            ),
        )
        + f" FROM {asked} q JOIN formula_input v USING (item_id) {joined}"
        f"WHERE {alias}.{chosen} IN ({_ids(owners)})"
        for formula, owners in formulas_by_text(formulas.at(place), owner)
    ]


def formula_quantities(formulas: Formulas, *, detailed: bool, stood: bool) -> tuple[Statement, ...]:
    """From ``counted_position`` make ``position``: where the charge says how much is priced, the
    cycle's quantity is F(quantity), so a stretch of it is F(after) - F(before).

    Also ``quantity_point`` and ``quantity_value``, what was asked and answered.
    """
    ends = _ends(detailed=detailed, stood=stood)
    charges = _ids({placed.charge_id for placed in formulas.at(QUANTITY_FORMULA)})
    points = [
        _point(
            "counted_position",
            end,
            f"p.item_id IN (SELECT item_id FROM charge_item WHERE charge_id IN ({charges})) "
            f"AND p.{_COLUMNS[end]} IS NOT NULL"
            + (" AND p.continues" if end.endswith("before") else ""),
        )
        for end in ends
    ]
    values = _asked(
        "quantity_point",
        "charge_id",
        formulas,
        QUANTITY_FORMULA,
        f"q.*, CAST(greatest({{sql}}, 0) AS {QUANTITY}) AS value",
    )
    pivot = ", ".join(
        f"max(coalesce(value, 0)) FILTER (stands = '{end}') AS asked_{end}" for end in ends
    )
    replaced = ", ".join(
        f"CAST(CASE WHEN f.position_id IS NULL OR p.{column} IS NULL THEN p.{column} "
        f"ELSE coalesce(f.asked_{end}, 0) END AS {QUANTITY}) AS {column}"
        for end, column in _COLUMNS.items()
        if end in ends
    )
    used = "p.used OR coalesce(f.asked_after, 0) <> coalesce(f.asked_before, 0) AS used"
    return (
        Statement("quantity_point", " UNION ALL ".join(points)),
        Statement("quantity_value", union(values, "")),
        Statement(
            "position",
            f"SELECT p.* REPLACE ({replaced}, {used}) FROM counted_position p LEFT JOIN "
            f"(SELECT position_id, {pivot} FROM quantity_value GROUP BY position_id) f "
            "USING (position_id)",
        ),
    )


def formula_steps(formulas: Formulas, *, detailed: bool, stood: bool) -> tuple[Statement, ...]:
    """Make ``formula_step``, rows of ``tier_step`` for the positions whose price is a formula, and
    ``formula_fault``: item_id, place, told (the formula with its values) of the items whose price
    or quantity has no value. What was priced for these is not to be used."""
    ends = (*_ENDS, *(("list_after", "list_before") if detailed else ()))
    points = [
        _point(
            "position",
            end,
            "e.price_id IN (SELECT price_id FROM price WHERE model = 'formula') "
            f"AND p.{_COLUMNS[end]} IS NOT NULL"
            + (" AND p.continues" if end.endswith("before") else ""),
        )
        for end in ends
    ]
    values = _asked("formula_point", "price_id", formulas, PRICE_FORMULA, "q.*, {sql} AS value")
    nothing = f"SELECT q.*, NULL::{QUANTITY} AS value FROM formula_point q WHERE false"
    at = {end: f"max(value) FILTER (stands = '{end}')" for end in _COLUMNS}
    priced = f"""
SELECT position_id, 0::DECIMAL(28,6) AS from_quantity, NULL::DECIMAL(28,6) AS up_to,
       NULL::{AMOUNT} AS unit_amount, 0::{QUANTITY} AS units, 0 AS flats,
       0::DECIMAL(32,10) AS flat_amount,
       CAST(coalesce({at["after"]}, 0) - coalesce({at["before"]}, 0) AS {PRODUCT}) AS amount,
       CAST({at["list_after"]} - coalesce({at["list_before"]}, 0) AS {PRODUCT}) AS list_amount
FROM formula_value GROUP BY position_id
"""
    step = _BY_DAYS.format(priced=priced) if stood else priced
    return (
        Statement("formula_point", " UNION ALL ".join(points)),
        Statement("formula_value", union(values, nothing)),
        Statement("formula_step", step),
        _formula_fault(formulas),
    )


# Where units may cost the share of the days they stood, so does what a formula says: as units that
# cost one each.
_BY_DAYS = f"""
SELECT q.* REPLACE (1::{AMOUNT} AS unit_amount, CAST(q.amount AS {QUANTITY}) AS units),
       CAST(q.list_amount AS {QUANTITY}) AS list_units, p.share_days, p.cycle_days
FROM ({{priced}}) q JOIN position p USING (position_id)
"""


def _formula_fault(formulas: Formulas) -> Statement:
    faults = []
    for place, chosen, relation in _VALUED:
        if formulas.at(place):
            without = f"(SELECT * FROM {relation} WHERE value IS NULL)"
            what = f"q.item_id, '{place}' AS place, {{told}} AS told"
            faults += _asked(without, chosen, formulas, place, what)
    nothing = "SELECT NULL::BIGINT AS item_id, NULL AS place, NULL AS told WHERE false"
    return Statement(FORMULA_FAULT.name, union(faults, nothing))


_VALUED = (
    (QUANTITY_FORMULA, "charge_id", "quantity_value"),
    (PRICE_FORMULA, "price_id", "formula_value"),
)
"""Formulas that are asked about a quantity: their place, whose they are, and their values."""

# Of several positions (events) the last tells what the cycle came to.
_LAST = """
(SELECT a.*, CASE WHEN a.positions = 1 THEN b.value END AS value_before
 FROM (SELECT *, count(*) OVER epoch AS positions FROM {values}
       WHERE stands = 'after' WINDOW epoch AS (PARTITION BY item_id, epoch_no)
       QUALIFY row_number() OVER (PARTITION BY item_id, epoch_no
                                  ORDER BY quantity DESC, position_id DESC) = 1) a
 LEFT JOIN {values} b ON b.position_id = a.position_id AND b.stands = 'before')
"""


def formula_trace(formulas: Formulas) -> Statement:
    """Makes ``formula_trace``: item_id, epoch_no, formulas: a JSON array with an object for every
    formula that decided. place, formula, told (with the values put in), values, result; of a price
    or quantity ``before``, what the quantity before came to, where something was before."""
    columns = formulas.columns
    entries = [
        f"SELECT v.item_id, e.epoch_no, 1, {_told(CONDITION, formula, columns)} "
        "FROM formula_input v JOIN charge_item i USING (item_id) "
        f"JOIN price_epoch e USING (item_id) WHERE i.charge_id IN ({_ids(charges)})"
        for formula, charges in formulas_by_text(formulas.at(CONDITION), _charge_of)
    ]
    entries += [
        f"SELECT v.item_id, e.epoch_no, 2, {_told(PRICE_CONDITION, formula, columns)} "
        "FROM formula_input v JOIN price_epoch e USING (item_id) "
        f"WHERE e.price_id IN ({_ids(prices)})"
        for formula, prices in formulas_by_text(formulas.at(PRICE_CONDITION), _price_of)
    ]
    for place_no, (place, chosen, relation) in enumerate(_VALUED, start=3):
        told = f"q.item_id, q.epoch_no, {place_no}, {{entry}}"
        entries += _asked(_LAST.format(values=relation), chosen, formulas, place, told)
    sql = (
        f"SELECT item_id, epoch_no, {traces_sql('entry', 'place_no')} AS formulas "
        f"FROM ({union(entries, _NO_ENTRY)}) t(item_id, epoch_no, place_no, entry) "
        "GROUP BY item_id, epoch_no"
    )
    return Statement(FORMULA_TRACE.name, sql)


_NO_ENTRY = "SELECT NULL::BIGINT, NULL::BIGINT, NULL::INTEGER, NULL::VARCHAR WHERE false"


def _told(place: str, formula: Formula, columns: Mapping[Reference, str]) -> str:
    result = (Kind.BOOLEAN, formula.sql(columns.__getitem__))
    return trace_sql(place, formula, columns, result=result)


def formulas_by_text(
    placed: Sequence[PlacedFormula], owner: Callable[[PlacedFormula], int] | None = None
) -> list[tuple[Formula, list[int]]]:
    """Each formula once, with the ids of its owners: of prices and discounts unless told."""
    found: dict[str, tuple[Formula, list[int]]] = {}
    for each in placed:
        found.setdefault(each.formula.text, (each.formula, []))[1].append(
            (owner or _price_of)(each)
        )
    return list(found.values())


def _charge_of(placed: PlacedFormula) -> int:
    return placed.charge_id


def _price_of(placed: PlacedFormula) -> int:
    return placed.price_id or 0


def _ids(ids: Iterable[int]) -> str:
    return ", ".join(str(each) for each in sorted(ids))


def union(branches: Sequence[str], nothing: str) -> str:
    """The rows of all SELECTs, or of ``nothing``."""
    return " UNION ALL ".join(branches) if branches else nothing
