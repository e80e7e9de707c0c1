"""The formulas of charges and prices: which names they may use, and what speaks against saving one.

Names of meters, charges and products are what is stored and what is being saved with them; the
fields of accounts, sites, contracts and subscriptions are those the catalogue declares.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from counterfoil.core.formulas.formula import Formula, parse_formula
from counterfoil.core.formulas.order import evaluation_levels
from counterfoil.core.formulas.vocabulary import (
    BOOLEAN,
    DATE,
    SCALE,
    SCOPES,
    TEXT,
    WHOLE,
    Kind,
    Lookup,
    Type,
    Vocabulary,
    number,
)
from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Catalogue, FieldType, Record
from counterfoil.platform.metadata.entity import Field
from counterfoil.platform.records.unit_of_work import UnitOfWork

CHARGE_FORMULAS = {"condition": Kind.BOOLEAN, "quantity_formula": Kind.NUMBER}
"""The fields of a charge that hold formulas, and what these yield."""
PRICE_FORMULAS = {"formula": Kind.NUMBER, "condition": Kind.BOOLEAN}
"""The fields of a price that hold formulas."""

OWNERS = ("account", "site", "contract", "subscription")
"""The entities whose fields formulas may read, as ``account.status``."""

SUMMABLE = ("sum", "count", "max")
"""Aggregations of which ``usage`` knows the quantity over any subscriptions and days."""

_PERIOD: dict[str, Type] = {
    "cycle.start": DATE,
    "cycle.end": DATE,
    "cycle.days": number(6, 0),
    "service.start": DATE,
    "service.end": DATE,
}
_OF_QUANTITY = ("formula", "quantity_formula")


@dataclass(frozen=True, slots=True)
class Names:
    """The external ids that lookups may name: meters by aggregation, charges by kind, and the
    charges of each product."""

    meters: Mapping[str, str] = field(default_factory=dict)
    charges: Mapping[str, str] = field(default_factory=dict)
    products: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def charges_of(self, name: str) -> frozenset[str]:
        """The charges whose amounts ``amount`` of this name adds up."""
        return frozenset((name,)) if name in self.charges else self.products.get(name, frozenset())


def read_names(uow: UnitOfWork) -> Names:
    """Everything stored that a formula may name."""
    meters = uow.query("SELECT external_id, aggregation FROM meter")
    charges = uow.query(
        "SELECT c.external_id, c.kind, p.external_id AS product FROM charge c "
        "JOIN rate_plan r ON r.id = c.rate_plan_id JOIN product p ON p.id = r.product_id"
    )
    products: dict[str, set[str]] = {
        str(row["external_id"]): set() for row in uow.query("SELECT external_id FROM product")
    }
    for row in charges:
        products[row["product"]].add(row["external_id"])
    return Names(
        {row["external_id"]: row["aggregation"] for row in meters},
        {row["external_id"]: row["kind"] for row in charges},
        {product: frozenset(of_it) for product, of_it in products.items()},
    )


def fields_of_owners(catalogue: Catalogue) -> dict[str, Type]:
    """The variables of the owners' fields with their types: those a formula can hold."""
    found: dict[str, Type] = {}
    for name in OWNERS:
        entity = catalogue.entities.get(name)
        for declared in entity.fields if entity else ():
            type_ = _type_of(declared)
            if type_ is not None and not declared.secret:
                found[f"{name}.{declared.name}"] = type_
    return found


def _type_of(declared: Field) -> Type | None:
    if declared.type is FieldType.DECIMAL:
        fits = declared.scale <= SCALE and declared.precision - declared.scale <= WHOLE
        return number(declared.precision, declared.scale) if fits else None
    return {
        FieldType.TEXT: TEXT,
        FieldType.CHOICE: TEXT,
        FieldType.INTEGER: number(19, 0),
        FieldType.BOOLEAN: BOOLEAN,
        FieldType.DATE: DATE,
    }.get(declared.type)


def vocabulary_of(place: str, fields: Mapping[str, Type], names: Names | None) -> Vocabulary:
    """What a formula may say in the field ``place``; without ``names`` any names."""
    variables = {**fields, **_PERIOD}
    if place in _OF_QUANTITY:
        variables["quantity"] = number()
    known: dict[str, frozenset[str] | None] = dict.fromkeys(("usage", "quantity", "amount"))
    if names is not None:
        known = {
            "usage": frozenset(name for name, how in names.meters.items() if how in SUMMABLE),
            "quantity": frozenset(
                name for name, kind in names.charges.items() if kind == "recurring"
            ),
            "amount": frozenset((*names.charges, *names.products)),
        }
    lookups = {name: Lookup(number(), allowed, SCOPES) for name, allowed in known.items()}
    return Vocabulary(variables, lookups)


class FormulaCheck:
    """Checks formulas one after the other, then whether their charges wait for each other."""

    def __init__(self, fields: Mapping[str, Type], names: Names) -> None:
        self._names = names
        self._fields = fields
        self._vocabularies: dict[str, Vocabulary] = {}

    def parse(self, text: str, place: str, returns: Kind) -> tuple[Formula | None, list[Problem]]:
        """The formula, or what is wrong with it; ``place`` is its field."""
        vocabulary = self._vocabularies.get(place)
        if vocabulary is None:
            vocabulary = vocabulary_of(place, self._fields, self._names)
            self._vocabularies[place] = vocabulary
        return parse_formula(text, returns=returns, vocabulary=vocabulary, field=place)

    def find_cycles(self, formulas: Iterable[tuple[str, Formula]]) -> list[Problem]:
        """Circles of charges that read each other's amounts; formulas with their charge."""
        waits_for: dict[str, set[str]] = {}
        for charge, formula in formulas:
            for reference in formula.calls("amount"):
                read = self._names.charges_of(reference.arguments[0])
                waits_for.setdefault(charge, set()).update(read)
        return evaluation_levels(waits_for)[1]


def parse_rows(
    check: FormulaCheck, rows: Sequence[Record], places: Mapping[str, Kind]
) -> tuple[list[tuple[int, str, Formula]], list[Problem]]:
    """The formulas in some fields of some records: position, field, formula; and the problems,
    with the position from 1 as line when there are several records."""
    found: list[tuple[int, str, Formula]] = []
    problems: list[Problem] = []
    for position, row in enumerate(rows):
        for place, returns in places.items():
            if row[place] is None:
                continue
            formula, faults = check.parse(str(row[place]), place, returns)
            line = position + 1 if len(rows) > 1 else None
            problems += [
                Problem(fault.code, fault.message, place, fault.allowed, line=line)
                for fault in faults
            ]
            if formula is not None:
                found.append((position, place, formula))
    return found, problems


def has_formulas(rows: Sequence[Record], places: Iterable[str]) -> bool:
    """Whether any of the records has a formula in one of the fields."""
    return any(row[place] is not None for row in rows for place in places)


def read_waiting_formulas(
    uow: UnitOfWork, check: FormulaCheck, *, charges: Sequence[str], prices: Sequence[int]
) -> list[tuple[str, Formula]]:
    """The stored formulas that read amounts, with their charges; but for the charges' own formulas
    of ``charges`` (external ids) and those of ``prices`` (ids), which are being saved."""
    kinds = {**CHARGE_FORMULAS, **PRICE_FORMULAS}
    rows = uow.query(
        "SELECT external_id AS charge, 'condition' AS place, condition AS text FROM charge"
        " WHERE external_id <> ALL(:charges)"
        " UNION ALL SELECT external_id, 'quantity_formula', quantity_formula FROM charge"
        " WHERE external_id <> ALL(:charges)"
        " UNION ALL SELECT c.external_id, v.place, v.text FROM price p"
        " JOIN charge c ON c.id = p.charge_id CROSS JOIN LATERAL (VALUES"
        " ('formula', p.formula), ('condition', p.condition)) AS v(place, text)"
        " WHERE p.id <> ALL(:prices)",
        charges=list(charges),
        prices=list(prices),
    )
    found = []
    for row in rows:
        if row["text"] is None or "amount" not in row["text"].lower():
            continue
        formula, _ = check.parse(row["text"], row["place"], kinds[row["place"]])
        if formula is not None:
            found.append((str(row["charge"]), formula))
    return found


def find_charge_formula_problems(uow: UnitOfWork, rows: list[Record]) -> list[Problem]:
    """What speaks against the formulas of some charges that are being saved."""
    if not has_formulas(rows, CHARGE_FORMULAS):
        return []
    stored = read_names(uow)
    products = _products_of(uow, rows)
    of_products = {name: set(charges) for name, charges in stored.products.items()}
    for row in rows:
        if row["rate_plan_id"] in products:
            of_products[products[row["rate_plan_id"]]].add(str(row["external_id"]))
    names = Names(
        stored.meters,
        {**stored.charges, **{str(row["external_id"]): str(row["kind"]) for row in rows}},
        {name: frozenset(charges) for name, charges in of_products.items()},
    )
    check = FormulaCheck(fields_of_owners(uow.catalogue), names)
    found, problems = parse_rows(check, rows, CHARGE_FORMULAS)
    if problems or not any(formula.calls("amount") for _, _, formula in found):
        return problems
    saved = [(str(rows[position]["external_id"]), formula) for position, _, formula in found]
    others = read_waiting_formulas(
        uow, check, charges=[str(row["external_id"]) for row in rows], prices=[]
    )
    return _located_cycles(check, saved, others, [place for _, place, _ in found])


def find_price_formula_problems(uow: UnitOfWork, rows: list[Record]) -> list[Problem]:
    """What speaks against the formulas of some prices that are being saved."""
    if not has_formulas(rows, PRICE_FORMULAS):
        return []
    check = FormulaCheck(fields_of_owners(uow.catalogue), read_names(uow))
    found, problems = parse_rows(check, rows, PRICE_FORMULAS)
    if problems or not any(formula.calls("amount") for _, _, formula in found):
        return problems
    charges = {
        row["id"]: str(row["external_id"])
        for row in uow.query(
            "SELECT id, external_id FROM charge WHERE id = ANY(:ids)",
            ids=[row["charge_id"] for row in rows],
        )
    }
    saved = [
        (charges[rows[position]["charge_id"]], formula)
        for position, _, formula in found
        if rows[position]["charge_id"] in charges
    ]
    ids = [cast("int", row["id"]) for row in rows]
    others = read_waiting_formulas(uow, check, charges=[], prices=ids)
    return _located_cycles(check, saved, others, [place for _, place, _ in found])


def _products_of(uow: UnitOfWork, rows: list[Record]) -> dict[object, str]:
    """The product of each rate plan that the charges belong to."""
    return {
        row["id"]: str(row["external_id"])
        for row in uow.query(
            "SELECT r.id, p.external_id FROM rate_plan r JOIN product p ON p.id = r.product_id"
            " WHERE r.id = ANY(:plans)",
            plans=sorted({cast("int", row["rate_plan_id"]) for row in rows}),
        )
    }


def _located_cycles(
    check: FormulaCheck,
    saved: Sequence[tuple[str, Formula]],
    others: Sequence[tuple[str, Formula]],
    places: Sequence[str],
) -> list[Problem]:
    """The circles that what is saved closes, at the field of its first formula that waits."""
    waiting = [
        place for place, (_, formula) in zip(places, saved, strict=True) if formula.calls("amount")
    ]
    return [
        Problem(cycle.code, cycle.message, waiting[0])
        for cycle in check.find_cycles([*saved, *others])
    ]
