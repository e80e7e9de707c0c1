"""Provisioning: tasks are made from the steps of products, and lines activated when they are done.

All of this happens to many lines at once, under the lock of their orders.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import cast

from counterfoil.business.orders.activation import activate_lines
from counterfoil.business.orders.events import tell_completed, tell_failed_lines
from counterfoil.business.orders.kinds import ADVANCE_ORDER, CALL_OUTSIDE
from counterfoil.business.orders.turns import Task, Turn, Turns, take_turns
from counterfoil.business.subscriptions.invoicing import profiles_of_accounts
from counterfoil.business.subscriptions.plans_held import plans_held
from counterfoil.core.periods.zones import local_date, local_midnight
from counterfoil.platform.jobs.enqueuing import Request, enqueue_many
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

CALL_BACK_HOLDS = timedelta(days=30)
"""How long an outside system may take to call back."""

_STEPS = f"""
WITH {plans_held("s.id IN (SELECT subscription_id FROM order_line WHERE order_id = ANY(:ids))")}
SELECT l.order_id, l.id AS order_line_id, st.id AS provisioning_step_id, st.position, st.kind,
       st.name
FROM order_line l
LEFT JOIN subscription s ON s.id = l.subscription_id
LEFT JOIN LATERAL (
    SELECT rate_plan_id FROM plan_held
    WHERE subscription_id = s.id AND NOT add_on AND from_day <= CAST(:today AS date)
    ORDER BY from_day DESC LIMIT 1
) h ON true
JOIN rate_plan p ON p.id = coalesce(CASE WHEN l.kind <> 'cancel' THEN l.rate_plan_id END,
                                    h.rate_plan_id, s.rate_plan_id)
JOIN provisioning_step st ON (st.rate_plan_id = p.id OR st.product_id = p.product_id)
     AND st.line_kind = l.kind AND NOT st.retired
WHERE l.order_id = ANY(:ids) AND l.status = 'waiting'
ORDER BY l.order_id, l.position, st.position, st.id
"""

_RELEASED = """
SELECT id FROM order_line WHERE order_id = ANY(:ids) AND status = 'waiting' ORDER BY id
"""

_LINES = """
SELECT id, order_id, account_id, effective_date FROM order_line
WHERE order_id = ANY(:ids) AND status = 'provisioning' ORDER BY order_id, position
"""

_TASKS = """
SELECT t.id, t.order_line_id, t.position, t.kind, t.state, t.due_on, t.done_on,
       coalesce(st.days, 0) AS days
FROM provisioning_task t
JOIN order_line l ON l.id = t.order_line_id
JOIN provisioning_step st ON st.id = t.provisioning_step_id
WHERE l.order_id = ANY(:ids) AND l.status = 'provisioning' AND t.state <> 'cancelled'
ORDER BY t.order_line_id, t.position, t.id
"""

_SETTLED = """
SELECT o.id, bool_or(l.status = 'activated') AS activated
FROM "order" o JOIN order_line l ON l.order_id = o.id
WHERE o.id = ANY(:ids) AND o.status NOT IN ('completed', 'cancelled')
GROUP BY o.id HAVING bool_and(l.status IN ('activated', 'cancelled')) ORDER BY o.id
"""


def make_tasks(uow: UnitOfWork, order_ids: Sequence[int]) -> None:
    """Make the tasks of all lines that wait, by the steps of their rate plans and products."""
    ids = list(order_ids)
    found = uow.query(_STEPS, ids=ids, today=uow.now.date())
    tasks = [{**row, "state": "waiting"} for row in found]
    uow.create_many("provisioning_task", tasks, by_command=True)
    uow.update_many(
        "order_line",
        [(row["id"], {"status": "provisioning"}) for row in uow.query(_RELEASED, ids=ids)],
        by_command=True,
    )


def advance_orders(uow: UnitOfWork, order_ids: Sequence[int]) -> None:
    """Open the tasks whose turn it is, and activate the lines that have no more to do.

    The orders are locked already. A fixed number of queries for any number of lines.
    """
    lines = uow.query(_LINES, ids=list(order_ids))
    profiles = profiles_of_accounts(uow, sorted({row["account_id"] for row in lines}))
    zones = {
        row["id"]: str(profiles.get(row["account_id"], {}).get("time_zone", "UTC")) for row in lines
    }
    turns = _turns_of(uow, order_ids, lines, zones)
    changes = [change for one in turns.values() for change in one.changes]
    uow.update_many(
        "provisioning_task",
        [(one.task.id, _changed(one, uow.now)) for one in changes],
        by_command=True,
    )
    _ask_for_jobs(uow, lines, turns, zones)
    ready = {line: one.done for line, one in turns.items() if one.finished}
    if ready:
        done = {line: day for line, day in ready.items() if day is not None}
        failed = activate_lines(uow, list(ready), done=done)
        if failed:
            tell_failed_lines(uow, list(failed))
    settle_orders(uow, order_ids)


def settle_orders(uow: UnitOfWork, order_ids: Sequence[int]) -> None:
    """Complete the orders of which every line is activated or cancelled; where none was
    activated, the order is cancelled."""
    rows = uow.query(_SETTLED, ids=list(order_ids))
    if not rows:
        return
    uow.update_many(
        "order",
        [(row["id"], {"status": "completed" if row["activated"] else "cancelled"}) for row in rows],
        by_command=True,
    )
    tell_completed(uow, [row["id"] for row in rows])


def _turns_of(
    uow: UnitOfWork, order_ids: Sequence[int], lines: Sequence[Record], zones: Mapping[int, str]
) -> dict[int, Turns]:
    tasks: dict[int, list[Task]] = {cast("int", row["id"]): [] for row in lines}
    for row in uow.query(_TASKS, ids=list(order_ids)):
        values = {name: value for name, value in row.items() if name != "order_line_id"}
        tasks[row["order_line_id"]].append(Task(**values))
    return {
        row["id"]: take_turns(
            tasks[row["id"]], row["effective_date"], local_date(uow.now, zones[row["id"]])
        )
        for row in lines
    }


def _ask_for_jobs(
    uow: UnitOfWork,
    lines: Sequence[Record],
    turns: Mapping[int, Turns],
    zones: Mapping[int, str],
) -> None:
    """What opened tasks need: that outside systems are called, or that a day comes."""
    asked: list[Request] = []
    for row in lines:
        for turn in turns[row["id"]].changes:
            if turn.state != "open":
                continue
            if turn.task.kind == "webhook":
                asked.append(Request(CALL_OUTSIDE, {"task": turn.task.id}, str(turn.task.id)))
            elif turn.task.kind == "wait" and turn.due_on is not None:
                begins = local_midnight(turn.due_on, zones[row["id"]])
                key = f"{row['order_id']}/{begins.isoformat()}"
                asked.append(Request(ADVANCE_ORDER, {"order": row["order_id"]}, key, begins))
    enqueue_many(uow, asked)


def _changed(turn: Turn, now: datetime) -> Record:
    change: Record = {
        "state": turn.state,
        "due_on": turn.due_on,
        "done_on": turn.done_on,
        "done_by": "calendar" if turn.state == "done" else None,
    }
    if turn.task.kind == "webhook":
        # A key of its own for every time its turn comes: links of earlier times do not count.
        change |= {"call_back_key": token_urlsafe(32), "call_back_until": now + CALL_BACK_HOLDS}
    return change
