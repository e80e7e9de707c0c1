"""The formulas of discounts, checked when they are saved."""

from collections.abc import Sequence
from dataclasses import replace

from counterfoil.business.products.formulas import (
    FormulaCheck,
    fields_of_owners,
    has_formulas,
    parse_rows,
    read_names,
)
from counterfoil.core.formulas.vocabulary import Kind
from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

DISCOUNT_FORMULAS = {"condition": Kind.BOOLEAN, "percent_formula": Kind.NUMBER}
"""The fields of a discount that hold formulas, and what these yield."""


def find_discount_formula_problems(
    uow: UnitOfWork, rows: Sequence[Record]
) -> list[tuple[int, Problem]]:
    """What is wrong with the formulas of some discounts, each with the position of its row."""
    if not has_formulas(rows, DISCOUNT_FORMULAS):
        return []
    check = FormulaCheck(fields_of_owners(uow.catalogue), read_names(uow))
    found = []
    for position, row in enumerate(rows):
        _, problems = parse_rows(check, [row], DISCOUNT_FORMULAS)
        found += [(position, problem) for problem in problems]
    return found


def check_discount_formulas(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """The formulas of discounts are right, whoever writes them."""
    del old_rows
    return [
        replace(problem, line=position + 1 if len(rows) > 1 else None)
        for position, problem in find_discount_formula_problems(uow, rows)
    ]
