"""Read models of orders: one with its lines by site, region and country, and its open tasks."""

from collections.abc import Iterable
from dataclasses import dataclass

from counterfoil.business.orders.entities import STATUSES
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

GROUPINGS = ("site", "region", "country")
NOWHERE = "none"
"""The group of what has no site."""

_LINES = """
SELECT l.position, l.kind, l.status, l.subscription_external_id AS subscription,
       a.external_id AS account, t.external_id AS site, t.region, t.country,
       p.external_id AS rate_plan, c.external_id AS charge, l.quantity, l.quantities, l.prices,
       l.effective_date, l.billing_start, l.billing_date, l.purchase_order, l.provisioned_on,
       l.activated_on, l.billed_from, l.problem, coalesce(k.left_open, 0) AS tasks_left
FROM order_line l
JOIN account a ON a.id = l.account_id
LEFT JOIN site t ON t.id = coalesce(l.to_site_id, l.site_id)
LEFT JOIN rate_plan p ON p.id = l.rate_plan_id
LEFT JOIN charge c ON c.id = l.charge_id
LEFT JOIN (SELECT order_line_id, count(*) AS left_open FROM provisioning_task
           WHERE order_id = :id AND state IN ('waiting', 'open', 'failed') GROUP BY 1) k
       ON k.order_line_id = l.id
WHERE l.order_id = :id ORDER BY t.country, t.region, t.external_id, l.position
"""

_ORDERS = """
SELECT o.external_id, o.number, a.external_id AS account, o.status, o.order_date, o.purchase_order,
       o.amount, o.currency, count(l.id) AS lines,
       count(l.id) FILTER (WHERE l.status = 'activated') AS activated,
       count(l.id) FILTER (WHERE l.status = 'failed') AS failed
FROM "order" o JOIN account a ON a.id = o.account_id LEFT JOIN order_line l ON l.order_id = o.id
WHERE (CAST(:status AS text) IS NULL OR o.status = :status)
  AND (CAST(:account AS text) IS NULL OR a.external_id = :account)
  AND (CAST(:id AS bigint) IS NULL OR o.id = :id)
GROUP BY o.id, a.external_id ORDER BY o.id DESC LIMIT :limit
"""

_TASKS = """
SELECT t.id, o.external_id AS "order", l.position AS line, l.subscription_external_id AS
       subscription, s.external_id AS site, t.position, t.kind, t.name, t.state, t.due_on,
       t.done_on, t.done_by, t.note, t.attempts, t.error, st.instructions
FROM provisioning_task t
JOIN "order" o ON o.id = t.order_id
JOIN order_line l ON l.id = t.order_line_id
JOIN provisioning_step st ON st.id = t.provisioning_step_id
LEFT JOIN site s ON s.id = l.site_id
WHERE (CAST(:id AS bigint) IS NULL OR o.id = :id)
  AND (:all OR t.state IN ('open', 'failed'))
ORDER BY o.id, l.position, t.position, t.id LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class Group:
    """The lines of an order at one place: how many, by status, and which."""

    country: str
    region: str
    site: str
    lines: int
    by_status: dict[str, int]
    positions: list[int]


@dataclass(frozen=True, slots=True)
class OrderShown:
    """An order with its lines, in the order of their places, and the groups of these."""

    order: Record
    lines: list[Record]
    groups: dict[str, list[Group]]


def show_order(uow: UnitOfWork, order_id: int) -> OrderShown:
    """An order, its lines, and these by site, region and country."""
    found = list_orders(uow, order_id=order_id)
    if not found:
        raise Refused(Problem("unknown_order", f"there is no order {order_id}", "order"), 404)
    lines = uow.query(_LINES, id=order_id)
    return OrderShown(
        found[0], lines, {name: group_lines(lines, GROUPINGS.index(name)) for name in GROUPINGS}
    )


def group_lines(lines: Iterable[Record], places: int) -> list[Group]:
    """Lines by site (0), by region (1) or by country (2)."""
    groups: dict[tuple[str, str, str], Group] = {}
    for row in lines:
        country, region, site = (str(row[name] or NOWHERE) for name in reversed(GROUPINGS))
        key = (country, region if places < 2 else "", site if places < 1 else "")
        group = groups.setdefault(key, Group(*key, 0, {}, []))
        by_status = group.by_status
        by_status[str(row["status"])] = by_status.get(str(row["status"]), 0) + 1
        group.positions.append(row["position"])
    return [
        Group(*key, len(one.positions), one.by_status, sorted(one.positions))
        for key, one in groups.items()
    ]


def list_orders(
    uow: UnitOfWork,
    *,
    status: str | None = None,
    account: str | None = None,
    order_id: int | None = None,
    limit: int = 100,
) -> list[Record]:
    """The newest orders, of a status or an account (external id), with the number of lines.

    Refuses (422) an unknown status, naming the allowed ones.
    """
    if status is not None and status not in STATUSES:
        raise Refused(Problem("unknown_choice", f"{status!r} is not allowed", "status", STATUSES))
    return uow.query(_ORDERS, status=status, account=account, id=order_id, limit=limit)


def list_tasks(
    uow: UnitOfWork, *, order_id: int | None = None, everything: bool = False, limit: int = 1000
) -> list[Record]:
    """Tasks that are open or have failed, or all, of one order or of all orders."""
    return uow.query(_TASKS, id=order_id, all=everything, limit=limit)
