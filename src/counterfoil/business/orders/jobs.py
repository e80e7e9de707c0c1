"""Orders as jobs: outside systems are called, and waits end."""

from counterfoil.business.orders.calling import (
    OutsideSystems,
    expire_call,
    read_call,
    record_call,
)
from counterfoil.business.orders.commands import hold_orders
from counterfoil.business.orders.kinds import ADVANCE_ORDER, CALL_OUTSIDE, EXPIRE_CALL
from counterfoil.business.orders.provisioning import advance_orders
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.jobs.working import Assignment, Handler
from counterfoil.platform.metadata import Record


def order_handlers(outside: OutsideSystems, public_url: str) -> dict[str, Handler]:
    """Who does these kinds of jobs; ``public_url`` is where call backs go."""

    def call_outside(job: Assignment) -> Record:
        task = int(job.payload["task"])
        with job.database.transaction(now=job.now) as uow:
            call = read_call(uow, task, public_url)
        if call is None:
            return {"called": False}
        # No transaction is open meanwhile: the other side may take its time, or call back at once.
        outcome = outside(call, job.now)
        last = job.attempt >= CALL_OUTSIDE.most_failures
        # When others are in the way only this is done again: the call was made.
        given_up = job.database.attempt(
            lambda uow: record_call(uow, task, call, outcome, last=last), now=job.now
        )
        if outcome.error:
            problem = Problem("call_failed", outcome.error, f"provisioning-tasks/{task}")
            raise Refused(problem, 422 if given_up else 409)
        return {"called": True}

    def expire(job: Assignment) -> Record:
        with job.database.transaction(now=job.now) as uow:
            return {"failed": expire_call(uow, int(job.payload["task"]))}

    def advance(job: Assignment) -> Record:
        order = int(job.payload["order"])
        with job.database.transaction(now=job.now) as uow:
            hold_orders(uow, [order])
            advance_orders(uow, [order])
        return {}

    return {
        CALL_OUTSIDE.name: call_outside,
        EXPIRE_CALL.name: expire,
        ADVANCE_ORDER.name: advance,
    }
