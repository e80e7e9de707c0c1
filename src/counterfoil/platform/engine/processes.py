"""Works in local processes, as many at a time as there are processes."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.engine.runner import (
    ATTEMPTS,
    TRY_AGAIN,
    Key,
    Outcome,
    Result,
    Work,
    answer,
    attempt,
)


class LocalProcesses:
    """A pool of processes that is started when first needed and renewed when one is lost."""

    splits = True

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()

    def run(
        self, kernel: Callable[[Work], Result], works: Mapping[Key, Work]
    ) -> Iterator[tuple[Key, Result]]:
        """See :class:`counterfoil.platform.engine.runner.Runner`."""
        left = dict(works)
        lost: BaseException | None = None
        for _ in range(ATTEMPTS):
            pool = self._started()
            futures: list[Future[Outcome[Key, Result]]] = []
            try:
                futures += [pool.submit(attempt, kernel, one) for one in left.items()]
                for future in as_completed(futures):
                    fault = future.exception()
                    if isinstance(fault, TRY_AGAIN):
                        lost = fault
                        continue
                    key, result = answer(future.result())
                    del left[key]
                    yield key, result
            except BrokenProcessPool as broken:
                lost = broken
                self._drop(pool)
            finally:
                for future in futures:
                    future.cancel()
            if not left:
                return
        message = f"{len(left)} works failed {ATTEMPTS} times: {lost}"
        raise Refused(Problem("runner_failed", message), status=503) from lost

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                # A fork would copy locks and connections that other threads are holding.
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(
                    self._count, mp_context=context, initializer=_end_with_parent
                )
            return self._pool

    def _drop(self, pool: ProcessPoolExecutor) -> None:
        """Let the next one ask for a new pool, unless another thread has done so already."""
        with self._lock:
            if self._pool is pool:
                self._pool = None
        pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, however it went."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
