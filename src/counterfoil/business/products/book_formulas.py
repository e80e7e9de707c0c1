"""The formulas of a price book, checked against what it says itself and what is stored."""

from collections.abc import Sequence

from counterfoil.business.products.formulas import (
    CHARGE_FORMULAS,
    PRICE_FORMULAS,
    FormulaCheck,
    Names,
    fields_of_owners,
    has_formulas,
    read_names,
    read_waiting_formulas,
)
from counterfoil.business.products.owners import OWNER_JOINS, OWNER_NAME
from counterfoil.business.products.price_book_entries import CatalogueEntry, Place, PriceBook
from counterfoil.core.formulas.formula import Formula
from counterfoil.core.formulas.vocabulary import Kind
from counterfoil.core.problems import Problem
from counterfoil.platform.records.unit_of_work import UnitOfWork

Waiting = tuple[Place, str, str, Formula]
"""A formula that reads amounts: where it stands, its field, its charge."""


def find_book_formula_problems(uow: UnitOfWork, book: PriceBook) -> list[Problem]:
    """Formulas of the book that are wrong, and circles of charges that read each other's amounts.

    The book's references have been checked.
    """
    asked = _formulas_of(book)
    if not asked:
        return []
    check = FormulaCheck(fields_of_owners(uow.catalogue), _names_with(read_names(uow), uow, book))
    problems: list[Problem] = []
    waiting: list[Waiting] = []
    for place, name, charge, text, returns in asked:
        formula, faults = check.parse(text, name, returns)
        problems += [
            place.problem(fault.code, fault.message, name, fault.allowed) for fault in faults
        ]
        if formula is not None and formula.calls("amount"):
            waiting.append((place, name, charge, formula))
    if problems or not waiting:
        return problems
    return _find_cycles(uow, book, check, waiting)


def _formulas_of(book: PriceBook) -> list[tuple[Place, str, str, str, Kind]]:
    """Place, field, charge, text and kind of every formula in the book."""
    found = [
        (entry.place, name, entry.external_id, str(entry.values[name]), returns)
        for entry in book.of_entity("charge")
        for name, returns in CHARGE_FORMULAS.items()
        if has_formulas([entry.values], (name,))
    ]
    return found + [
        (price.place, name, price.charge, getattr(price, name), returns)
        for price in book.prices
        for name, returns in PRICE_FORMULAS.items()
        if getattr(price, name) is not None
    ]


def _names_with(stored: Names, uow: UnitOfWork, book: PriceBook) -> Names:
    """The stored names and those of the book."""
    plans = {
        str(row["external_id"]): str(row["product"])
        for row in uow.query(
            "SELECT r.external_id, p.external_id AS product FROM rate_plan r "
            "JOIN product p ON p.id = r.product_id"
        )
    }
    for plan in book.of_entity("rate_plan"):
        plans[plan.external_id] = plan.references["product_id"]
    products = {name: set(charges) for name, charges in stored.products.items()}
    for product in book.of_entity("product"):
        products.setdefault(product.external_id, set())
    for charge in book.of_entity("charge"):
        product_of = plans[charge.references["rate_plan_id"]]
        products.setdefault(product_of, set()).add(charge.external_id)
    return Names(
        {**stored.meters, **_values(book.of_entity("meter"), "aggregation")},
        {**stored.charges, **_values(book.of_entity("charge"), "kind")},
        {name: frozenset(charges) for name, charges in products.items()},
    )


def _values(entries: Sequence[CatalogueEntry], field: str) -> dict[str, str]:
    return {entry.external_id: str(entry.values[field]) for entry in entries}


def _find_cycles(
    uow: UnitOfWork, book: PriceBook, check: FormulaCheck, waiting: Sequence[Waiting]
) -> list[Problem]:
    """Circles through the book and what stays stored, each told at a formula of the book in it."""
    others = read_waiting_formulas(
        uow,
        check,
        charges=[entry.external_id for entry in book.of_entity("charge")],
        prices=_replaced(uow, book),
    )
    saved = [(charge, formula) for _, _, charge, formula in waiting]
    problems = []
    for cycle in check.find_cycles([*saved, *others]):
        place, name = next(
            ((place, name) for place, name, charge, _ in waiting if charge in cycle.message),
            waiting[0][:2],
        )
        problems.append(place.problem(cycle.code, cycle.message, name))
    return problems


def _replaced(uow: UnitOfWork, book: PriceBook) -> list[int]:
    """The stored prices that a price of the book is put in the place of."""
    keys = {(*price.key, price.valid_from) for price in book.prices}
    rows = uow.query(
        f"SELECT price.id, charge.external_id AS charge, price.layer,"
        f" coalesce({OWNER_NAME}, '') AS owner, price.currency, price.valid_from"
        f" FROM price JOIN charge ON charge.id = price.charge_id {OWNER_JOINS}"
        " WHERE charge.external_id = ANY(:charges)",
        charges=sorted({price.charge for price in book.prices}),
    )
    names = ("charge", "layer", "owner", "currency", "valid_from")
    return [row["id"] for row in rows if tuple(row[name] for name in names) in keys]
