"""Orders go their path: submitted, approved, released to provisioning, completed, cancelled.

Whoever changes an order locks it first, so that what several do at the same time happens one after
the other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from counterfoil.business.orders.events import tell_submitted
from counterfoil.business.orders.limits import ALL, discount_limit, too_much
from counterfoil.business.orders.placing import read_limits, submitted
from counterfoil.business.orders.provisioning import (
    advance_orders,
    make_tasks,
    settle_orders,
)
from counterfoil.core.problems import Problem, Refused, demand_reason
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_HELD = """
SELECT id, external_id, number, status, amount, currency, discount_percent FROM "order"
WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE
"""

_LEFT = """
SELECT id, order_id, position, kind, status FROM order_line
WHERE order_id = ANY(:ids) AND status NOT IN ('activated', 'cancelled') ORDER BY order_id, position
"""

_THEIR_TASKS = """
SELECT id FROM provisioning_task
WHERE order_line_id = ANY(:lines) AND state IN ('waiting', 'open', 'failed') ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an order is: its status, its lines by status, and the problems of failed ones."""

    order: str
    status: str
    lines: dict[str, int]
    problems: list[str]


def find_orders(uow: UnitOfWork, names: Iterable[str]) -> list[int]:
    """The ids of orders by external id or number, in order; refuses (404) unknown ones."""
    asked = list(dict.fromkeys(names))
    ids = {**uow.ids_by("order", "number", asked), **uow.ids_by("order", "external_id", asked)}
    problems = [
        Problem("unknown_order", f"there is no order {name!r}", "order")
        for name in asked
        if name not in ids
    ]
    if problems:
        raise Refused(problems, 404)
    return [ids[name] for name in asked]


def hold_orders(uow: UnitOfWork, ids: Sequence[int]) -> list[Record]:
    """Orders, locked until the transaction ends; refuses (404) unknown ones."""
    rows = uow.query(_HELD, ids=sorted(set(ids)))
    missing = set(ids) - {cast("int", row["id"]) for row in rows}
    if missing:
        raise Refused(
            [Problem("unknown_order", f"there is no order {one}", "order") for one in missing], 404
        )
    return rows


def submit_orders(uow: UnitOfWork, ids: Sequence[int]) -> list[Progress]:
    """Submit drafts: up to the limits they are approved thereby. Others are left as they are."""
    limits, discount = read_limits(uow), discount_limit(uow)
    held = hold_orders(uow, ids)
    _refuse_in(held, ("cancelled",), "submitted")
    changes = [
        (row["id"], submitted(uow, row, limits, discount))
        for row in held
        if row["status"] == "draft"
    ]
    uow.update_many("order", changes, by_command=True)
    tell_submitted(uow, [one for one, _ in changes])
    return read_progress(uow, ids)


def approve_orders(
    uow: UnitOfWork, ids: Sequence[int], *, comment: str | None = None, quoted: bool = False
) -> list[Progress]:
    """Approve what was submitted; what is approved already stays so.

    Refuses (403) a discount above the actor's limit, unless it was ``quoted``: then it was approved
    with the quote.
    """
    held = hold_orders(uow, ids)
    _refuse_in(held, ("draft", "cancelled"), "approved")
    if not quoted:
        _refuse_discounts(uow, [row for row in held if row["status"] == "submitted"])
    approval = {"status": "approved", "approved_by": uow.actor, "approved_at": uow.now}
    uow.update_many(
        "order",
        [
            (row["id"], {**approval, "comment": comment})
            for row in held
            if row["status"] == "submitted"
        ],
        by_command=True,
    )
    return read_progress(uow, ids)


def _refuse_discounts(uow: UnitOfWork, held: Sequence[Record]) -> None:
    given = [row["discount_percent"] for row in held]
    limit = discount_limit(uow) if any(given) else ALL
    problems = [too_much(percent, limit) for percent in given if percent > limit]
    if problems:
        raise Refused(problems, 403)


def release_orders(uow: UnitOfWork, ids: Sequence[int]) -> list[Progress]:
    """Begin to provision approved orders: tasks are made, and lines for which nothing has to be
    done are activated at once. What is released already is left alone."""
    held = hold_orders(uow, ids)
    _refuse_in(held, ("draft", "submitted", "cancelled"), "released")
    released = [row["id"] for row in held if row["status"] == "approved"]
    if released:
        uow.update_many(
            "order", [(one, {"status": "in_progress"}) for one in released], by_command=True
        )
        make_tasks(uow, released)
        advance_orders(uow, released)
    return read_progress(uow, ids)


def cancel_orders(
    uow: UnitOfWork,
    ids: Sequence[int],
    *,
    reason: str,
    positions: Sequence[int] | None = None,
) -> list[Progress]:
    """Cancel what is not activated yet, of one order also some lines only; what is activated stays.

    An order none of whose lines was activated is cancelled, another one completed by this.
    """
    demand_reason(reason)
    held = hold_orders(uow, ids)
    lines = uow.query(_LEFT, ids=list(ids))
    if positions is not None:
        _refuse_positions(held, lines, positions)
        lines = [row for row in lines if row["position"] in positions]
    elif any(row["status"] == "completed" for row in held):
        _refuse_in(held, ("completed",), "cancelled")
    gone = [row["id"] for row in lines]
    tasks = uow.query(_THEIR_TASKS, lines=gone)
    uow.update_many(
        "provisioning_task",
        [(row["id"], {"state": "cancelled", "note": reason}) for row in tasks],
        by_command=True,
    )
    uow.update_many("order_line", [(one, {"status": "cancelled"}) for one in gone], by_command=True)
    uow.update_many(
        "order",
        [(row["id"], {"comment": reason}) for row in held if row["status"] != "cancelled"],
        by_command=True,
    )
    settle_orders(uow, [row["id"] for row in held])
    return read_progress(uow, ids)


_PROGRESS = """
SELECT o.id, o.external_id AS "order", o.status, l.status AS of_line, count(*) AS lines,
       array_agg('line ' || l.position || ': ' || l.problem ORDER BY l.position)
           FILTER (WHERE l.status = 'failed') AS problems
FROM "order" o JOIN order_line l ON l.order_id = o.id
WHERE o.id = ANY(:ids) GROUP BY o.id, l.status ORDER BY o.id, l.status
"""


def read_progress(uow: UnitOfWork, ids: Sequence[int]) -> list[Progress]:
    """How far orders are, in the order of the ids."""
    found: dict[int, Progress] = {}
    for row in uow.query(_PROGRESS, ids=list(ids)):
        of_order = found.setdefault(
            row["id"], Progress(str(row["order"]), str(row["status"]), {}, [])
        )
        of_order.lines[str(row["of_line"])] = int(row["lines"])
        of_order.problems.extend(row["problems"] or ())
    return [found[one] for one in ids]


def _refuse_in(held: Sequence[Record], statuses: tuple[str, ...], word: str) -> None:
    problems = [
        Problem(
            "wrong_status",
            f"order {row['external_id']} is {row['status'].replace('_', ' ')} and cannot be {word}",
            "status",
        )
        for row in held
        if row["status"] in statuses
    ]
    if problems:
        raise Refused(problems, 409)


def _refuse_positions(
    held: Sequence[Record], lines: Sequence[Record], positions: Sequence[int]
) -> None:
    if len(held) != 1:
        raise Refused(Problem("bad_choice", "lines are cancelled of one order at a time", "lines"))
    known = [row["position"] for row in lines]
    problems = [
        Problem(
            "unknown_line",
            f"order {held[0]['external_id']} has no line {one} that could be cancelled",
            "lines",
            tuple(str(other) for other in known),
        )
        for one in positions
        if one not in known
    ]
    if problems:
        raise Refused(problems, 409)
