"""What formulas read, item by item: one column per reference, for the formulas at hand only.

Whatever a lookup gathers, it is gathered once per owner and period and then handed to the items:
a thousand subscriptions that ask for the usage of their account cost one sum.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from counterfoil.core.formulas.formula import Formula
from counterfoil.core.formulas.vocabulary import Kind, Reference
from counterfoil.core.rating.relations import QUANTITY, Relation, Statement

FORMULA = Relation(
    "formula",
    {
        "place": "VARCHAR",
        "charge_id": "BIGINT",
        "price_id": "BIGINT",
        "text": "VARCHAR",
    },
    "The formulas of the charges at hand and their prices. place is condition or quantity_formula "
    "of a charge, price_formula or price_condition of a price; of a discount, whose id is in "
    "price_id and which has no charge (0), discount_condition or discount_percent.",
)

FORMULA_NAME = Relation(
    "formula_name",
    {
        "lookup": "VARCHAR",
        "name": "VARCHAR",
        "id": "BIGINT",
        "aggregation": "VARCHAR",
        "quantity_attribute": "VARCHAR",
    },
    "What the names in lookups mean: of usage the meter, its aggregation and the attribute that is "
    "its quantity, of quantity the charge, of amount the charges.",
)

FORMULA_SCOPE = Relation(
    "formula_scope",
    {"subscription_id": "BIGINT", "scope": "VARCHAR", "owner_id": "BIGINT"},
    "Whom each subscription of the trees at hand belongs to: its own id, and those of its site, "
    "account, subtree and root. Ids of different scopes have nothing to do with each other.",
)

FORMULA_FACT = Relation(
    "formula_fact",
    {"subscription_id": "BIGINT"},
    "Of each subscription the fields of its owners that formulas read, as columns "
    '"account.status".',
)

HELD_CHARGE = Relation(
    "held_charge",
    {
        "subscription_id": "BIGINT",
        "charge_id": "BIGINT",
        "quantity": "DECIMAL(18,6)",
        "start_date": "DATE",
        "end_date": "DATE",
    },
    "Units of recurring charges held in the trees at hand, from a day up to before another.",
)

KNOWN_AMOUNT = Relation(
    "known_amount",
    {
        "subscription_id": "BIGINT",
        "charge_id": "BIGINT",
        "currency": "VARCHAR",
        "service_start": "DATE",
        "exact_amount": QUANTITY,
    },
    "What was billed in the trees at hand, or is given back now.",
)

FORMULA_INPUTS = (
    FORMULA,
    FORMULA_NAME,
    FORMULA_SCOPE,
    FORMULA_FACT,
    HELD_CHARGE,
    KNOWN_AMOUNT,
)
"""Read by formulas; all of them empty where there are none."""

SERVICE_OF_ITEM: Mapping[str, str] = {
    "cycle.start": "i.cycle_start",
    "cycle.end": "i.cycle_end",
    "cycle.days": "CAST(i.cycle_end - i.cycle_start AS DECIMAL(6,0))",
    "service.start": "i.service_start",
    "service.end": "i.service_end",
}
QUANTITY_ASKED = Reference("quantity")
"""The quantity a formula is asked about; it is no column of ``formula_input``."""


@dataclass(frozen=True, slots=True)
class PlacedFormula:
    """A formula of a charge (``price_id`` None) or of one of its prices."""

    place: str
    charge_id: int
    price_id: int | None
    formula: Formula


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the name in a lookup means: ids, and of a meter its aggregation."""

    ids: tuple[int, ...] = ()
    aggregation: str = "sum"


Meanings = Mapping[tuple[str, str], Meaning]
"""By lookup and name; a name without meaning counts for nothing."""


def column_of(references: Sequence[Reference]) -> dict[Reference, str]:
    """The columns of ``formula_input`` that hold the references."""
    return {reference: f"v.v{number}" for number, reference in enumerate(references)}


def references_of(formulas: Iterable[PlacedFormula]) -> tuple[Reference, ...]:
    """Everything the formulas read, once each; without the quantity they are asked about."""
    found = dict.fromkeys(
        reference for placed in formulas for reference in placed.formula.references
    )
    return tuple(reference for reference in found if reference != QUANTITY_ASKED)


def formula_inputs(
    formulas: Sequence[PlacedFormula], meanings: Meanings, usage: str = "usage"
) -> tuple[Statement, ...]:
    """Make ``formula_input``: item_id and a column v0, v1, ... per reference (see ``column_of``),
    of all items in ``formula_item`` (rows of charge_item).

    Needs ``FORMULA_INPUTS``, the relation called ``usage``, ``known_midnight`` with the first and
    last days of the items, and ``rated_amount`` (as KNOWN_AMOUNT), what was rated of lower levels.
    """
    references = references_of(formulas)
    statements: list[Statement] = []
    columns: list[str] = []
    joins: list[str] = []
    for number, reference in enumerate(references):
        if not reference.arguments:
            fact = f'f."{reference.name}"'
            columns.append(f"{SERVICE_OF_ITEM.get(reference.name, fact)} AS v{number}")
            continue
        charges = sorted(
            {placed.charge_id for placed in formulas if reference in placed.formula.references}
        )
        meaning = meanings.get((reference.name, reference.arguments[0]), Meaning())
        statements.append(_lookup(f"lookup_{number}", reference, meaning, charges, usage))
        columns.append(f"CAST(coalesce(l{number}.value, 0) AS {QUANTITY}) AS v{number}")
        joins.append(f"LEFT JOIN lookup_{number} l{number} USING (item_id)")
    selected = "".join(f", {column}" for column in columns)
    sql = (
        f"SELECT i.item_id{selected} FROM formula_item i "
        f"LEFT JOIN formula_fact f ON f.subscription_id = i.subscription_id {' '.join(joins)}"
    )
    return (*statements, Statement("formula_input", sql))


# Whom an item asks about, and in which time, once for all items that ask the same.
_LOOKUP = """
WITH asked AS (
    SELECT i.item_id, s.owner_id, {period}
    FROM formula_item i
    JOIN formula_scope s ON s.subscription_id = i.subscription_id AND s.scope = '{scope}'
    {joined}
    WHERE {chosen}
), span AS (
    SELECT DISTINCT * EXCLUDE (item_id) FROM asked
), found AS (
    SELECT p.*, {value} AS value
    FROM span p
    JOIN formula_scope m ON m.scope = '{scope}' AND m.owner_id = p.owner_id
    JOIN {source} u ON u.subscription_id = m.subscription_id AND {condition}
    GROUP BY ALL
)
SELECT a.item_id, CAST(f.value AS {quantity}) AS value
FROM asked a JOIN found f USING ({keys})
"""

_MIDNIGHTS = """JOIN known_midnight b ON b.time_zone = i.time_zone AND b.day = i.service_start
    JOIN known_midnight e ON e.time_zone = i.time_zone AND e.day = i.service_end"""

_AMOUNTS = "(SELECT * FROM known_amount UNION ALL SELECT * FROM rated_amount)"

_READINGS = {"sum": "sum(u.quantity)", "count": "count(*)", "max": "max(u.quantity)"}


def _lookup(
    name: str, reference: Reference, meaning: Meaning, charges: Sequence[int], usage: str
) -> Statement:
    """item_id and value of the items for which there is something to find."""
    lookup, scope = reference.name, reference.arguments[1]
    ids = ", ".join(map(str, meaning.ids)) or "NULL"
    joined, keys = "", "owner_id"
    if lookup == "usage":
        period, joined = "b.instant AS start_at, e.instant AS end_at", _MIDNIGHTS
        value, source, keys = _READINGS[meaning.aggregation], usage, "owner_id, start_at, end_at"
        condition = f"u.meter_id IN ({ids}) AND u.time >= p.start_at AND u.time < p.end_at"
    elif lookup == "quantity":
        period, keys = "i.service_start AS day", "owner_id, day"
        value, source = "sum(u.quantity)", "held_charge"
        condition = (
            f"u.charge_id IN ({ids}) AND u.start_date <= p.day "
            "AND (u.end_date IS NULL OR u.end_date > p.day)"
        )
    else:
        period = "i.cycle_start, i.cycle_end, i.currency"
        value, source = "sum(u.exact_amount)", _AMOUNTS
        keys = "owner_id, cycle_start, cycle_end, currency"
        condition = (
            f"u.charge_id IN ({ids}) AND u.currency = p.currency "
            "AND u.service_start >= p.cycle_start AND u.service_start < p.cycle_end"
        )
    sql = _LOOKUP.format(
        period=period,
        scope=scope,
        joined=joined,
        chosen="true" if 0 in charges else f"i.charge_id IN ({', '.join(map(str, charges))})",
        value=value,
        source=source,
        condition=condition,
        quantity=QUANTITY,
        keys=keys,
    )
    return Statement(name, sql)


def told_sql(formula: Formula, columns: Mapping[Reference, str]) -> str:
    """VARCHAR expression: the text of a formula with the values of its references put in, written
    as ``Formula.told`` writes them."""
    parts, after = [], 0
    for place in formula.places:
        parts.append(quoted(formula.text[after : place.start]))
        parts.append(f"coalesce({_written(place.reference, columns)}, 'null')")
        after = place.end
    parts.append(quoted(formula.text[after:]))
    return " || ".join(parts)


def _written(reference: Reference, columns: Mapping[Reference, str]) -> str:
    column = columns[reference]
    kind = reference.type.kind
    if kind in (Kind.NUMBER, Kind.BOOLEAN):
        return _plain(kind, column)
    if kind is Kind.DATE:
        return f"'date ''' || CAST({column} AS VARCHAR) || ''''"
    return f"'''' || replace({column}, '''', '''''') || ''''"


def _plain(kind: Kind, sql: str) -> str:
    if kind is Kind.BOOLEAN:
        return f"CASE WHEN {sql} THEN 'true' WHEN NOT {sql} THEN 'false' END"
    return f"rtrim(rtrim(CAST(CAST({sql} AS {QUANTITY}) AS VARCHAR), '0'), '.')"


def trace_sql(
    place: str,
    formula: Formula,
    columns: Mapping[Reference, str],
    *,
    result: tuple[Kind, str],
    before: str = "NULL",
) -> str:
    """VARCHAR expression: what a formula said, as a JSON object (see ``formula_trace``).

    ``result``, with its kind, and ``before``, a number, are SQL.
    """
    values = {
        str(reference): _as_json(reference.type.kind, columns[reference])
        for reference in formula.references
    }
    return _object(
        {
            "place": quoted(json.dumps(place)),
            "formula": quoted(json.dumps(formula.text)),
            "told": f"CAST(to_json({told_sql(formula, columns)}) AS VARCHAR)",
            "values": _object(values),
            "result": _as_json(*result),
            "before": _as_json(Kind.NUMBER, before),
        }
    )


def traces_sql(entry: str, order: str) -> str:
    """VARCHAR aggregate: what several formulas said, as a JSON array."""
    return f"'[' || string_agg({entry}, ',' ORDER BY {order}) || ']'"


# The engine reads JSON within JSON anew, and numbers then lose digits: so all of it is text.
def _object(members: Mapping[str, str]) -> str:
    inner = " || ',' || ".join(
        f"{quoted(json.dumps(name) + ':')} || {sql}" for name, sql in members.items()
    )
    return f"('{{' || {inner} || '}}')" if members else "'{}'"


def _as_json(kind: Kind, sql: str) -> str:
    plain = kind in (Kind.NUMBER, Kind.BOOLEAN)
    text = _plain(kind, sql) if plain else f"CAST(to_json({sql}) AS VARCHAR)"
    return f"coalesce({text}, 'null')"


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
