"""What provisioning steps must obey, and how orders are numbered."""

from collections.abc import Iterator
from dataclasses import replace

from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import RecordCheck, UnitOfWork

_OF_KIND = {"url": "webhook", "secret": "webhook", "days": "wait"}
"""Fields that only steps of one kind have."""


def check_steps(
    _uow: UnitOfWork, rows: list[Record], _old_rows: list[Record | None]
) -> list[Problem]:
    """A step is of one product or rate plan, and has what its kind needs."""
    return [
        replace(problem, line=place if len(rows) > 1 else None)
        for place, row in enumerate(rows, start=1)
        for problem in _find_problems(row)
    ]


def _find_problems(row: Record) -> Iterator[Problem]:
    if (row["product_id"] is None) == (row["rate_plan_id"] is None):
        yield Problem("bad_choice", "name a product or a rate plan", "product_id")
    for name, kind in _OF_KIND.items():
        if row["kind"] == kind and row[name] is None:
            yield Problem("required", f"is required of a {kind}", name)
        if row["kind"] != kind and row[name] is not None:
            yield Problem("bad_choice", f"only a {kind} has it", name)
    if row["calls_back"] and row["kind"] != "webhook":
        yield Problem("bad_choice", "only a webhook calls back", "calls_back")


def number_of(order_id: int) -> str:
    """The number of an order: nobody waits for it, and what is not placed in the end leaves a gap,
    as no law counts orders."""
    return f"ORD-{order_id:06}"


def number_orders(
    _uow: UnitOfWork, rows: list[Record], _old_rows: list[Record | None]
) -> list[Problem]:
    """Fill in the numbers."""
    for row in rows:
        row["number"] = number_of(row["id"])
    return []


CHECKS: dict[str, RecordCheck] = {"provisioning_step": check_steps, "order": number_orders}
