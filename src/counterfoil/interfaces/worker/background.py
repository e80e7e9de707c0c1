"""Work in the background of a running server: each task polls, and stops when it is told."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

LONGEST_STEP = 20.0
"""Seconds a step under way may take to finish when everything is asked to stop."""

AFTER_A_FAULT = 10.0
"""Seconds without work after a step has failed, such as when the database is away."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do again and again.

    ``step`` does a piece of it and says whether there may be more at once; if not, it is asked
    again after ``interval`` seconds. ``threads`` do so side by side.
    """

    name: str
    step: Callable[[], bool]
    interval: float = 1.0
    threads: int = 1


class Paced:
    """The step of a task that takes a small share of the time, however long it takes itself."""

    def __init__(self, act: Callable[[], object], share: int = 20) -> None:
        self._act = act
        self._share = share
        self._not_before = 0.0

    def step(self) -> bool:
        """Act, unless the last time was so recent that one part in ``share`` would be exceeded."""
        begin = time.monotonic()
        if begin >= self._not_before:
            self._act()
            self._not_before = begin + self._share * (time.monotonic() - begin)
        return False


@contextmanager
def in_background(tasks: Sequence[Task]) -> Iterator[None]:
    """Run the tasks until the block ends; steps under way are finished first.

    One that takes longer than ``LONGEST_STEP`` ends with the process, its transaction undone.
    """
    stop = Event()
    threads = [
        Thread(target=_run, args=(task, stop), name=task.name, daemon=True)
        for task in tasks
        for _ in range(task.threads)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(LONGEST_STEP)
        for thread in threads:
            if thread.is_alive():
                log.warning("%s is still under way; it ends with the process", thread.name)


def _run(task: Task, stop: Event) -> None:
    while not stop.is_set():
        try:
            pause = 0.0 if task.step() else task.interval
        except Exception:
            log.exception("%s failed; it goes on in %g seconds", task.name, AFTER_A_FAULT)
            pause = AFTER_A_FAULT
        stop.wait(pause)
