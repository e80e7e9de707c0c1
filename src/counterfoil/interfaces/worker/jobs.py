"""Jobs as tasks of a running process: `counterfoil serve` and `counterfoil jobs work`."""

from collections.abc import Callable
from functools import partial

from counterfoil.bootstrap import Organisation, open_worker
from counterfoil.interfaces.worker.background import Task
from counterfoil.platform.jobs.scheduling import enqueue_scheduled
from counterfoil.platform.jobs.working import Run, Worker

JOB_THREADS = 3
"""Jobs under way at the same time, one of them a lengthy one; each holds a connection, and takes
others as it needs them."""


def working(
    organisation: Organisation,
    threads: int = JOB_THREADS,
    report: Callable[[Run], None] = lambda _run: None,
) -> list[Task]:
    """Jobs as tasks: asking for those of schedules, and running what is due; each run is
    reported."""
    worker = open_worker(organisation)

    def look_at_schedules() -> bool:
        return enqueue_scheduled(organisation.database, organisation.clock()) > 0

    def work(worker: Worker) -> bool:
        run = worker.run_next()
        if run is not None:
            report(run)
        return run is not None

    return [
        Task("schedules of jobs", look_at_schedules, interval=5.0),
        Task("jobs", partial(work, worker)),
        Task("quick jobs", partial(work, worker.quick()), threads=threads - 1),
    ]
