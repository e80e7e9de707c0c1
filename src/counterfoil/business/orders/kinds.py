"""The kinds of jobs of orders."""

from counterfoil.platform.metadata import JobKind
from counterfoil.platform.metadata.fields import integer

CALL_OUTSIDE = JobKind(
    name="call_outside_system",
    help="Call the outside system of a provisioning task.",
    fields=(integer("task", required=True, help="Id of the task."),),
)

EXPIRE_CALL = JobKind(
    name="expire_call_back",
    help="Give up a provisioning task whose outside system has not called back in time.",
    fields=(integer("task", required=True, help="Id of the task."),),
)

ADVANCE_ORDER = JobKind(
    name="advance_order",
    help="Finish the waits of an order that are over, and what follows from it.",
    fields=(integer("order", required=True, help="Id of the order."),),
)

JOB_KINDS = (CALL_OUTSIDE, EXPIRE_CALL, ADVANCE_ORDER)
