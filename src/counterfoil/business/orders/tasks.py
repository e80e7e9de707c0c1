"""Tasks are done, skipped and tried again; lines that failed are tried again too."""

from collections.abc import Sequence
from datetime import date

from counterfoil.business.orders.commands import Progress, hold_orders, read_progress
from counterfoil.business.orders.provisioning import advance_orders
from counterfoil.business.subscriptions.invoicing import profiles_of_accounts
from counterfoil.core.periods.zones import local_date
from counterfoil.core.problems import Problem, Refused, demand_reason
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_ORDERS_OF = "SELECT DISTINCT order_id FROM provisioning_task WHERE id = ANY(:ids)"

_TASKS = """
SELECT t.id, t.order_id, t.name, t.state, l.position AS line, l.account_id
FROM provisioning_task t JOIN order_line l ON l.id = t.order_line_id
WHERE t.id = ANY(:ids) ORDER BY t.id
"""

_OPEN = """
SELECT t.id FROM provisioning_task t JOIN order_line l ON l.id = t.order_line_id
WHERE t.order_id = :order AND t.state IN ('open', 'failed')
  AND (CAST(:lines AS bigint[]) IS NULL OR l.position = ANY(:lines))
  AND (CAST(:name AS text) IS NULL OR t.name = :name)
ORDER BY t.id
"""

_FAILED = """
SELECT id FROM order_line WHERE order_id = ANY(:ids) AND status = 'failed' ORDER BY id
"""

_FAILED_TASKS = """
SELECT id FROM provisioning_task WHERE order_id = ANY(:ids) AND state = 'failed' ORDER BY id
"""


def find_open_tasks(
    uow: UnitOfWork,
    order_id: int,
    *,
    lines: Sequence[int] | None = None,
    name: str | None = None,
) -> list[int]:
    """The tasks of an order that somebody could do now, of some lines (positions) or one name.

    Refuses (404) when there is none.
    """
    given = None if lines is None else list(lines)
    ids = [row["id"] for row in uow.query(_OPEN, order=order_id, lines=given, name=name)]
    if not ids:
        raise Refused(Problem("nothing_open", "there is no such open task", "tasks"), 404)
    return ids


def complete_tasks(
    uow: UnitOfWork, ids: Sequence[int], *, on: date | None = None, note: str | None = None
) -> list[Progress]:
    """Say that tasks were done, today or on an earlier day; lines that have no more to do are
    activated. What is done already stays as it is."""
    held = _hold(uow, ids)
    _refuse_states(held, ("waiting", "cancelled"), "done")
    days = _days(uow, held, on)
    done = {"state": "done", "done_by": uow.actor, "note": note, "error": None}
    return _change(
        uow,
        held,
        [
            (row["id"], {**done, "done_on": days[row["id"]]})
            for row in held
            if row["state"] in ("open", "failed")
        ],
    )


def skip_tasks(uow: UnitOfWork, ids: Sequence[int], *, reason: str) -> list[Progress]:
    """Let tasks be, for a reason; the line goes on as if they were done."""
    held = _hold(uow, ids)
    _refuse_states(held, ("done", "cancelled"), "skipped")
    demand_reason(reason)
    days = _days(uow, held, None)
    skipped = {"state": "skipped", "done_by": uow.actor, "note": reason}
    return _change(
        uow,
        held,
        [
            (row["id"], {**skipped, "done_on": days[row["id"]]})
            for row in held
            if row["state"] != "skipped"
        ],
    )


def retry_orders(uow: UnitOfWork, ids: Sequence[int]) -> list[Progress]:
    """Try again what has failed of orders: tasks are open again, lines to be activated."""
    hold_orders(uow, ids)
    uow.update_many(
        "provisioning_task",
        [
            (row["id"], {"state": "waiting", "error": None})
            for row in uow.query(_FAILED_TASKS, ids=list(ids))
        ],
        by_command=True,
    )
    uow.update_many(
        "order_line",
        [
            (row["id"], {"status": "provisioning", "problem": None})
            for row in uow.query(_FAILED, ids=list(ids))
        ],
        by_command=True,
    )
    advance_orders(uow, ids)
    return read_progress(uow, ids)


def _hold(uow: UnitOfWork, ids: Sequence[int]) -> list[Record]:
    """Tasks, read under the lock of their orders; refuses (404) unknown ones."""
    orders = [row["order_id"] for row in uow.query(_ORDERS_OF, ids=list(ids))]
    hold_orders(uow, orders)
    rows = uow.query(_TASKS, ids=list(ids))
    missing = set(ids) - {row["id"] for row in rows}
    if missing:
        raise Refused(
            [Problem("unknown_task", f"there is no task {one}", "tasks") for one in missing], 404
        )
    return rows


def _refuse_states(held: Sequence[Record], states: tuple[str, ...], word: str) -> None:
    reasons = {
        "waiting": "what comes before it is not done yet",
        "cancelled": "it was cancelled",
        "done": "it was done",
    }
    problems = [
        Problem(
            "wrong_state",
            f"task {row['id']} ({row['name']}, line {row['line']}) cannot be {word}: "
            f"{reasons[row['state']]}",
            "tasks",
        )
        for row in held
        if row["state"] in states
    ]
    if problems:
        raise Refused(problems, 409)


def _days(uow: UnitOfWork, held: Sequence[Record], on: date | None) -> dict[int, date]:
    """The day on which each task was done: today where its account is billed, or an earlier one."""
    profiles = profiles_of_accounts(uow, sorted({row["account_id"] for row in held}))
    days = {}
    for row in held:
        zone = str(profiles.get(row["account_id"], {}).get("time_zone", "UTC"))
        today = local_date(uow.now, zone)
        if on is not None and on > today:
            message = f"{on} is not yet: what was done was done by {today}"
            raise Refused(Problem("in_future", message, "on"))
        days[row["id"]] = on or today
    return days


def _change(
    uow: UnitOfWork, held: Sequence[Record], changes: Sequence[tuple[int, Record]]
) -> list[Progress]:
    uow.update_many("provisioning_task", changes, by_command=True)
    orders = sorted({row["order_id"] for row in held})
    advance_orders(uow, orders)
    return read_progress(uow, orders)
