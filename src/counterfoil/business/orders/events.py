"""What the orders room tells to webhooks and mail rules."""

from collections.abc import Sequence

from counterfoil.platform.outbox.emitting import EventType, emit_from
from counterfoil.platform.records.unit_of_work import UnitOfWork

ORDER_SUBMITTED = EventType("order.submitted", "An order waits to be approved.")
ORDER_COMPLETED = EventType(
    "order.completed", "Every line of an order is activated or cancelled, at least one activated."
)
PROVISIONING_FAILED = EventType(
    "provisioning.failed", "A task or line of an order has failed and waits for somebody."
)

EVENT_TYPES = (ORDER_SUBMITTED, ORDER_COMPLETED, PROVISIONING_FAILED)

_ORDERS = """
SELECT CAST(o.id AS text) AS key, 'orders/' || o.id AS subject,
       jsonb_build_object('order_id', o.id, 'number', o.number, 'external_id', o.external_id,
           'account', a.external_id, 'status', o.status, 'currency', o.currency,
           'amount', CAST(trim_scale(o.amount) AS text)) AS data
FROM "order" o JOIN account a ON a.id = o.account_id
WHERE o.id = ANY(:ids) AND o.status = :status ORDER BY o.id
"""

_LINES = """
SELECT 'line/' || l.id || '/' || l.row_version AS key, 'order-lines/' || l.id AS subject,
       jsonb_build_object('order', o.number, 'line', l.position, 'task', NULL,
           'problem', l.problem) AS data
FROM order_line l JOIN "order" o ON o.id = l.order_id
WHERE l.id = ANY(:ids) AND l.status = 'failed' ORDER BY l.id
"""

_TASKS = """
SELECT 'task/' || t.id || '/' || t.row_version AS key, 'provisioning-tasks/' || t.id AS subject,
       jsonb_build_object('order', o.number, 'line', l.position, 'task', t.name,
           'problem', t.error) AS data
FROM provisioning_task t JOIN order_line l ON l.id = t.order_line_id
JOIN "order" o ON o.id = t.order_id
WHERE t.id = ANY(:ids) AND t.state = 'failed' ORDER BY t.id
"""


def tell_submitted(uow: UnitOfWork, order_ids: Sequence[int]) -> None:
    """Tell of the orders among these that wait to be approved."""
    emit_from(uow, ORDER_SUBMITTED, _ORDERS, ids=list(order_ids), status="submitted")


def tell_completed(uow: UnitOfWork, order_ids: Sequence[int]) -> None:
    """Tell of the orders among these that are completed."""
    emit_from(uow, ORDER_COMPLETED, _ORDERS, ids=list(order_ids), status="completed")


def tell_failed_lines(uow: UnitOfWork, line_ids: Sequence[int]) -> None:
    """Tell of the lines among these that have failed, each time they do."""
    emit_from(uow, PROVISIONING_FAILED, _LINES, ids=list(line_ids))


def tell_failed_task(uow: UnitOfWork, task_id: int) -> None:
    """Tell of a task that has failed, each time it does."""
    emit_from(uow, PROVISIONING_FAILED, _TASKS, ids=[task_id])
