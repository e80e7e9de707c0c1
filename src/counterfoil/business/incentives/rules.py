"""What records of this room must obey, whoever writes them: commands, REST or a file."""

from collections.abc import Callable
from dataclasses import replace

from counterfoil.business.incentives.formulas import check_discount_formulas
from counterfoil.business.incentives.terms import (
    find_commitment_problems,
    find_discount_problems,
    find_drawing_problems,
    find_entitlement_problems,
    find_grant_problems,
    find_target_problems,
)
from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import RecordCheck, UnitOfWork


def _each(find: Callable[[Record], list[Problem]]) -> RecordCheck:
    """A rule that looks at one row at a time, as a rule for many."""

    def check(uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]) -> list[Problem]:
        del uow, old_rows
        return [
            replace(problem, line=position if len(rows) > 1 else None)
            for position, row in enumerate(rows, start=1)
            for problem in find(row)
        ]

    return check


def _check_discounts(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    found = _each(find_discount_problems)(uow, rows, old_rows)
    return found + check_discount_formulas(uow, rows, old_rows)


CHECKS: dict[str, RecordCheck] = {
    "discount": _check_discounts,
    "discount_target": _each(find_target_problems),
    "commitment": _each(find_commitment_problems),
    "prepaid_grant": _each(find_grant_problems),
    "entitlement": _each(find_entitlement_problems),
    "entitlement_target": _each(find_drawing_problems),
}
