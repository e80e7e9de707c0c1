"""Playing the steps of a scenario that are about orders."""

from functools import singledispatch

from counterfoil.business.orders.commands import (
    approve_orders,
    cancel_orders,
    find_orders,
    release_orders,
)
from counterfoil.business.orders.placing import place_orders
from counterfoil.business.orders.tasks import complete_tasks, find_open_tasks
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.scenarios.order_steps import (
    CancelOrder,
    Complete,
    Order,
    Provisioning,
)
from counterfoil.interfaces.scenarios.scenario import Step
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


def take_order_step(uow: UnitOfWork, step: Step) -> None:
    """Do what a step says."""
    _take(step, uow)


@singledispatch
def _take(step: Step, _uow: UnitOfWork) -> None:
    raise TypeError(f"no way to play {type(step).__name__}")


@_take.register
def _(step: Order, uow: UnitOfWork) -> None:
    ids = [placed.id for placed in place_orders(uow, step.orders)]
    approve_orders(uow, ids)
    release_orders(uow, ids)


@_take.register
def _(step: Complete, uow: UnitOfWork) -> None:
    (order,) = find_orders(uow, [step.order])
    lines = None if step.position is None else [step.position]
    made = complete_tasks(
        uow, find_open_tasks(uow, order, lines=lines, name=step.task), on=step.day
    )
    problems = [Problem("line_failed", told, "line") for one in made for told in one.problems]
    if problems:
        raise Refused(problems)


@_take.register
def _(step: CancelOrder, uow: UnitOfWork) -> None:
    positions = None if step.position is None else [step.position]
    cancel_orders(
        uow, find_orders(uow, [step.order]), reason="as the scenario says", positions=positions
    )


@_take.register
def _(step: Provisioning, uow: UnitOfWork) -> None:
    plan = uow.ids_by("rate_plan", "external_id", [step.plan])
    if not plan:
        message = f"there is no rate plan {step.plan!r}"
        raise Refused(Problem("unknown_rate_plan", message, "plan"))
    rows: list[Record] = [{"kind": "checklist", "name": name} for name in step.tasks]
    if step.wait is not None:
        rows.append({"kind": "wait", "name": "Wait", "days": step.wait})
    uow.create_many(
        "provisioning_step",
        [
            {
                **row,
                "external_id": f"{step.plan}-{position}",
                "position": position,
                "rate_plan_id": plan[step.plan],
            }
            for position, row in enumerate(rows, start=1)
        ],
    )
