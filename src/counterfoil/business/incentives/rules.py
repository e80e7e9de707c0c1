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
    find_spending_problems,
    find_target_problems,
)
from counterfoil.business.products.custom_fields import find_readers
from counterfoil.business.products.queries import read_added_up
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


def check_entitlement_targets(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """What draws on an entitlement is one product, rate plan or charge; a charge of usage that adds
    up event by event, since what is included is drawn down in their order."""
    problems = _each(find_drawing_problems)(uow, rows, old_rows)
    named = {row["charge_id"] for row in rows if row["charge_id"] is not None}
    unfit = named - read_added_up(uow, named) if named else set()
    message = "is no charge of usage that is summed or counted, so that events could draw on it"
    return problems + _of_charges(uow, rows, "charge_id", unfit, "not_for_this_meter", message)


def _of_charges(
    uow: UnitOfWork, rows: list[Record], field: str, unfit: set[int], code: str, message: str
) -> list[Problem]:
    """A problem of each row whose field refers to one of these charges, by its name."""
    if not unfit:
        return []
    names = uow.query("SELECT id, external_id FROM charge WHERE id = ANY(:ids)", ids=sorted(unfit))
    told = {row["id"]: row["external_id"] for row in names}
    return [
        Problem(code, f"{told[row[field]]!r} {message}", field, line=at if len(rows) > 1 else None)
        for at, row in enumerate(rows, start=1)
        if row[field] in told
    ]


def _check_entitlements(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """Owners and days of an entitlement; what it counts ``per`` is held, so a recurring charge."""
    problems = _each(find_entitlement_problems)(uow, rows, old_rows)
    named = {row["per_charge_id"] for row in rows if row["per_charge_id"] is not None}
    held = uow.query(
        "SELECT id FROM charge WHERE id = ANY(:ids) AND kind = 'recurring'", ids=sorted(named)
    )
    unfit = named - {row["id"] for row in held}
    message = "is no recurring charge, of which units could be held"
    return problems + _of_charges(uow, rows, "per_charge_id", unfit, "not_for_this_kind", message)


_FORMULAS = """
SELECT v.place, v.text, 'discount ' || d.external_id AS user FROM discount d
CROSS JOIN LATERAL (VALUES ('condition', d.condition), ('percentage', d.percent_formula))
    AS v(place, text)
"""


def check_retired_fields(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """What speaks against retiring custom fields: the formulas of discounts that read them."""
    return find_readers(uow, rows, old_rows, _FORMULAS)


CHECKS: dict[str, RecordCheck] = {
    "custom_field": check_retired_fields,
    "discount": _check_discounts,
    "discount_target": _each(find_target_problems),
    "commitment": _each(find_commitment_problems),
    "prepaid_grant": _each(find_grant_problems),
    "entitlement": _check_entitlements,
    "entitlement_target": check_entitlement_targets,
    "spending_threshold": _each(find_spending_problems),
}
