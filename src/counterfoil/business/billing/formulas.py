"""Reads what the formulas of some charges need: their texts, what their names mean, whom the
subscriptions of the trees belong to, and what is held and was billed in these.

A formula may look over the whole tree of an account. What it finds there does not depend on who is
billed at the same time: usage and quantities are those of everybody in the tree, and amounts are
what was billed of anybody or is due by the same day.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import pyarrow as pa

from counterfoil.business.billing.formula_levels import parse_placed
from counterfoil.business.billing.loading import load_charges, load_served_charges, trees_billed
from counterfoil.business.billing.relations import make_relation
from counterfoil.business.products.entities import WITH_FORMULA
from counterfoil.business.products.formulas import fields_of_owners
from counterfoil.core.formulas.vocabulary import Reference, Type
from counterfoil.core.rating.formula_values import (
    FORMULA,
    FORMULA_FACT,
    FORMULA_INPUTS,
    FORMULA_NAME,
    FORMULA_SCOPE,
    HELD_CHARGE,
    KNOWN_AMOUNT,
    PlacedFormula,
)
from counterfoil.core.rating.relations import QUANTITY, Relation
from counterfoil.platform.engine.duck import Engine
from counterfoil.platform.records.columns import field_sql
from counterfoil.platform.records.unit_of_work import UnitOfWork

USAGE_READER = Relation(
    "usage_reader",
    {"charge_id": "BIGINT", "meter_id": "BIGINT", "scope": "VARCHAR"},
    "Which meters the formulas of a charge read, and over what.",
)

_FORMULAS = f"""
SELECT v.place, c.id AS charge_id, NULL::bigint AS price_id, v.text
FROM charge c CROSS JOIN LATERAL (VALUES
    ('condition', c.condition), ('quantity_formula', c.quantity_formula)) AS v(place, text)
WHERE c.id = ANY(:charges) AND v.text IS NOT NULL
UNION ALL
SELECT v.place, p.charge_id, p.id, v.text
FROM price p CROSS JOIN LATERAL (VALUES
    ('price_formula', p.formula), ('price_condition', p.condition)) AS v(place, text)
WHERE p.charge_id = ANY(:charges) AND ({WITH_FORMULA}) AND v.text IS NOT NULL
UNION ALL
SELECT v.place, 0, d.id, v.text
FROM discount d CROSS JOIN LATERAL (VALUES
    ('discount_condition', d.condition), ('discount_percent', d.percent_formula)) AS v(place, text)
WHERE v.text IS NOT NULL
"""

# A charge and a product may have the same id: then the charge is meant.
_NAMES = """
SELECT 'usage' AS lookup, external_id AS name, id, aggregation, quantity_attribute FROM meter
WHERE external_id = ANY(:usage)
UNION ALL
SELECT 'quantity', external_id, id, '', NULL FROM charge WHERE external_id = ANY(:quantity)
UNION ALL
SELECT 'amount', external_id, id, '', NULL FROM charge WHERE external_id = ANY(:amount)
UNION ALL
SELECT 'amount', p.external_id, c.id, '', NULL
FROM product p JOIN rate_plan r ON r.product_id = p.id JOIN charge c ON c.rate_plan_id = r.id
WHERE p.external_id = ANY(:amount)
  AND NOT EXISTS (SELECT 1 FROM charge d WHERE d.external_id = p.external_id)
"""

_SCOPES = """
WITH RECURSIVE node AS (
    SELECT id AS account_id, id AS subtree_id FROM account
    WHERE pool_node AND root_id = ANY(:roots)
    UNION ALL
    SELECT a.id, n.subtree_id FROM account a JOIN node n ON a.parent_id = n.account_id
    WHERE NOT a.pool_node
)
SELECT s.id AS subscription_id, v.scope, v.owner_id
FROM subscription s
JOIN account a ON a.id = s.account_id
LEFT JOIN node n ON n.account_id = a.id
CROSS JOIN LATERAL (VALUES
    ('subscription', s.id), ('site', coalesce(s.site_id, -a.id)), ('account', a.id),
    ('subtree', coalesce(n.subtree_id, a.id)), ('root', a.root_id)) AS v(scope, owner_id)
WHERE a.root_id = ANY(:roots) AND v.scope = ANY(:scopes)
"""

_FACTS = """
SELECT subscription.id AS subscription_id{columns}
FROM subscription
JOIN account ON account.id = subscription.account_id
{joins}
WHERE account.root_id = ANY(:roots)
"""

_HELD = """
SELECT sc.subscription_id, sc.charge_id, sc.quantity, sc.start_date, sc.end_date
FROM subscription_charge sc
JOIN subscription s ON s.id = sc.subscription_id
JOIN account a ON a.id = s.account_id
WHERE a.root_id = ANY(:roots) AND sc.charge_id = ANY(:charges)
  AND (sc.end_date IS NULL OR sc.end_date > sc.start_date)
"""

_STORED_AMOUNTS = """
SELECT sc.subscription_id, sc.charge_id, r.currency, r.service_start, r.exact_amount,
       r.subscription_charge_id, r.cycle_start
FROM rated_charge r
JOIN subscription_charge sc ON sc.id = r.subscription_charge_id
JOIN subscription s ON s.id = sc.subscription_id
JOIN account a ON a.id = s.account_id
WHERE a.root_id = ANY(:roots) AND sc.charge_id = ANY(:charges)
  AND r.service_start >= :first AND r.service_start < :last
  AND r.kind IN ('one_time', 'recurring', 'usage', 'reversal') AND r.discount_id IS NULL
  AND NOT EXISTS (SELECT 1 FROM rated_charge d WHERE d.kind = 'adjustment'
                  AND (d.reverses_id = r.id OR d.reverses_id = r.reverses_id))
"""


@dataclass(frozen=True, slots=True)
class FormulaTerms:
    """The formulas of the charges at hand and what they read, but for amounts.

    ``tree`` are the charges (columns of load_charges) of others in the same trees: empty unless a
    formula reads amounts. ``relations`` are Arrow tables by name, none of them where there are no
    formulas.
    """

    tree: pa.Table
    relations: dict[str, pa.Table] = field(default_factory=dict)
    roots: tuple[int, ...] = ()
    amount_charges: tuple[int, ...] = ()

    @property
    def tree_accounts(self) -> list[int]:
        """The billed accounts of ``tree``."""
        return _distinct(self.tree, "billed_account_id")


def load_formulas(
    uow: UnitOfWork,
    accounts: Sequence[int],
    charges: pa.Table,
    day: date,
    *,
    served: bool = False,
) -> FormulaTerms:
    """The formulas of ``charges`` of these billed accounts and of what they read.

    ``day`` and ``served`` tell which charges of others in the same trees there are, when amounts
    are read: those that may be due by the day or all served before it, as load_charges and
    load_served_charges say.
    """
    terms = FormulaTerms(charges.slice(0, 0))
    rows, placed = _read_formulas(uow, charges)
    if not placed:
        return terms
    if any(each.formula.calls("amount") for each in placed):
        roots = _distinct(charges, "root_id")
        others = sorted(set(trees_billed(uow, roots)) - set(accounts))
        load = load_served_charges if served else load_charges
        terms = replace(terms, tree=load(uow, others, day))
        rows, placed = _read_formulas(uow, pa.concat_tables([charges, terms.tree]))
    roots = _distinct(charges, "root_id")
    references = tuple(dict.fromkeys(ref for each in placed for ref in each.formula.references))
    names = _read_names(uow, references)
    charge_ids = {
        lookup: tuple(sorted({row["id"] for row in names.to_pylist() if row["lookup"] == lookup}))
        for lookup in ("quantity", "amount")
    }
    scopes = sorted({ref.arguments[1] for ref in references if len(ref.arguments) > 1})
    relations = {
        FORMULA.name: rows,
        FORMULA_NAME.name: names,
        FORMULA_SCOPE.name: load_scopes(uow, roots, scopes),
        FORMULA_FACT.name: _read_facts(uow, references, roots),
        HELD_CHARGE.name: uow.read_arrow(_HELD, roots=roots, charges=list(charge_ids["quantity"])),
        USAGE_READER.name: _usage_readers(placed, names),
    }
    return replace(
        terms, relations=relations, roots=tuple(roots), amount_charges=charge_ids["amount"]
    )


def load_scopes(uow: UnitOfWork, roots: Sequence[int], scopes: Sequence[str]) -> pa.Table:
    """``formula_scope`` of all subscriptions in these trees, of these scopes: whom they pool with,
    counted as charges and entitlements are pooled."""
    return uow.read_arrow(_SCOPES, roots=list(roots), scopes=list(scopes))


def _read_formulas(uow: UnitOfWork, charges: pa.Table) -> tuple[pa.Table, list[PlacedFormula]]:
    rows = uow.read_arrow(_FORMULAS, charges=_distinct(charges, "charge_id"))
    return rows, parse_placed(rows.to_pylist(), fields_of_owners(uow.catalogue))


def _read_names(uow: UnitOfWork, references: Sequence[Reference]) -> pa.Table:
    named = {
        lookup: sorted(
            {ref.arguments[0] for ref in references if ref.name == lookup and ref.arguments}
        )
        for lookup in ("usage", "quantity", "amount")
    }
    return uow.read_arrow(_NAMES, **named)


def _read_facts(uow: UnitOfWork, references: Sequence[Reference], roots: list[int]) -> pa.Table:
    """The owners' fields that are read, one row per subscription."""
    fields: dict[str, Type] = fields_of_owners(uow.catalogue)
    read = [reference.name.split(".") for reference in references if reference.name in fields]
    columns = "".join(
        f', {field_sql(owner, field)} AS "{owner}.{name}"'
        for owner, name in read
        if (field := uow.catalogue.entity(owner).field(name)) is not None
    )
    joins = "".join(
        f"LEFT JOIN {owner} ON {owner}.id = subscription.{owner}_id\n"
        for owner in sorted({owner for owner, _ in read} - {"account", "subscription"})
    )
    return uow.read_arrow(_FACTS.format(columns=columns, joins=joins), roots=roots)


def _usage_readers(placed: Sequence[PlacedFormula], names: pa.Table) -> pa.Table:
    """USAGE_READER: which meters the charges read."""
    meters = {row["name"]: row["id"] for row in names.to_pylist() if row["lookup"] == "usage"}
    rows = sorted(
        {
            (each.charge_id, meters[reference.arguments[0]], reference.arguments[1])
            for each in placed
            for reference in each.formula.calls("usage")
            if reference.arguments[0] in meters
        }
    )
    return pa.table(
        {
            "charge_id": pa.array([row[0] for row in rows], pa.int64()),
            "meter_id": pa.array([row[1] for row in rows], pa.int64()),
            "scope": pa.array([row[2] for row in rows], pa.string()),
        }
    )


def register_formulas(engine: Engine, terms: FormulaTerms) -> None:
    """Put the relations of formulas on the engine, empty ones where there are none."""
    for shape in (*FORMULA_INPUTS, USAGE_READER):
        if shape.name in terms.relations:
            engine.register(shape.name, terms.relations[shape.name])
        elif shape is not KNOWN_AMOUNT:
            make_relation(engine, shape.name, shape, None)


# Others may be billed while this is read. So what is rated here counts as rated here, whatever has
# been stored of it since, and what was read to be compared with it counts as it was read.
_KNOWN_AMOUNTS = f"""
WITH compared AS ({{compared}}), known AS (
    SELECT s.* FROM stored_amount s
    WHERE s.subscription_charge_id NOT IN (SELECT subscription_charge_id FROM compared)
      AND NOT EXISTS (SELECT 1 FROM charge_item i
                      WHERE i.subscription_charge_id = s.subscription_charge_id
                        AND i.cycle_start = s.cycle_start AND i.service_start <= s.service_start
                        AND NOT i.counted_only)
    UNION ALL BY NAME
    SELECT c.subscription_id, c.charge_id, c.currency, b.service_start, b.exact_amount,
           b.subscription_charge_id, b.cycle_start
    FROM billed_charge b JOIN every_charge c USING (subscription_charge_id)
    WHERE b.subscription_charge_id IN (SELECT subscription_charge_id FROM compared) {{again}}
      AND b.applied_name IS NULL AND b.discount_id IS NULL
    {{given_back}}
)
SELECT subscription_id, charge_id, currency, service_start,
       CAST(exact_amount AS {QUANTITY}) AS exact_amount
FROM known
"""
_COMPARED = """
SELECT subscription_charge_id FROM late_cycle
UNION SELECT subscription_charge_id FROM every_charge WHERE billed_through > end_date
"""
_GIVEN_BACK = """
UNION ALL BY NAME
SELECT *, -back AS exact_amount
FROM reversed WHERE applied_name IS NULL
"""
_NOT_RATED_ANEW = """
AND NOT EXISTS (SELECT 1 FROM charge_item i WHERE i.cycle_start = b.cycle_start
                AND i.subscription_charge_id = b.subscription_charge_id AND NOT i.counted_only)
"""


def make_known_amounts(
    uow: UnitOfWork,
    engine: Engine,
    terms: FormulaTerms,
    *,
    given_back: bool = False,
    anew: bool = False,
) -> None:
    """Make ``known_amount`` for ``charge_item``: what was billed or is ``given_back``.

    ``anew`` leaves out what was billed of the cycles that are rated: they are rated as a whole, and
    ``billed_charge`` holds everything billed of every charge.
    """
    span = None
    if terms.amount_charges:
        span = engine.row("SELECT min(cycle_start), max(cycle_end) FROM charge_item")
    if span is None or span[0] is None:
        make_relation(engine, KNOWN_AMOUNT.name, KNOWN_AMOUNT, None)
        return
    stored = uow.read_arrow(
        _STORED_AMOUNTS,
        roots=list(terms.roots),
        charges=list(terms.amount_charges),
        first=span[0],
        last=span[1],
    )
    engine.register("stored_amount", stored)
    sql = _KNOWN_AMOUNTS.format(
        compared="SELECT subscription_charge_id FROM every_charge" if anew else _COMPARED,
        again=_NOT_RATED_ANEW if anew else "",
        given_back=_GIVEN_BACK if given_back else "",
    )
    engine.run(f"CREATE TABLE known_amount AS {sql}")


def _distinct(table: pa.Table, column: str) -> list[int]:
    return sorted(set(table.column(column).to_pylist()))
