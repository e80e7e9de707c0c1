"""Maps one computation over many works: here, in processes of this machine, or on Spark.

A *kernel* is a function that a fresh Python can import by name (or a ``functools.partial`` of
one), takes one work and gives one result; works and results can be pickled. A kernel may be run
more than once on the same work, when the process or machine that had it is lost: so it changes
nothing but its result.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar, cast

from counterfoil.platform.engine.duck import NotAvailable

Key = TypeVar("Key")
Work = TypeVar("Work")
Result = TypeVar("Result")

ATTEMPTS = 4
"""How often a work is tried before the whole is given up."""

TRY_AGAIN = (OSError, MemoryError, NotAvailable)
"""Faults of a place, not of the work: another attempt, elsewhere or later, may succeed."""


class Runner(Protocol):
    """Where works are done."""

    @property
    def splits(self) -> bool:
        """Whether works are done beside each other, so that it pays to make many small ones."""
        ...

    def run(
        self, kernel: Callable[[Work], Result], works: Mapping[Key, Work]
    ) -> Iterator[tuple[Key, Result]]:
        """The result of every work with its key, in any order.

        Raises what the kernel raises for one of the works; refuses (503) when works are lost
        again and again. Several threads may call it at once.
        """
        ...

    def close(self) -> None:
        """Let go of processes and connections; closing twice is harmless."""
        ...


class InThisProcess:
    """One work after the other, in the thread that asks."""

    splits = False

    def run(
        self, kernel: Callable[[Work], Result], works: Mapping[Key, Work]
    ) -> Iterator[tuple[Key, Result]]:
        """See :class:`Runner`."""
        for key, work in works.items():
            yield key, kernel(work)

    def close(self) -> None:
        """Nothing to let go of."""


IN_THIS_PROCESS: Runner = InThisProcess()


Outcome = tuple[Key, Result | None, Exception | None]
"""Key of a work and its result or its fault, as a task elsewhere gives them back."""


def attempt(kernel: Callable[[Work], Result], keyed: tuple[Key, Work]) -> Outcome[Key, Result]:
    """Do one work with its key.

    A fault of the work is an answer like another: trying again would only repeat it. Faults
    in ``TRY_AGAIN`` are raised, so that the work is.
    """
    key, work = keyed
    try:
        return key, kernel(work), None
    except TRY_AGAIN:
        raise
    except Exception as fault:  # noqa: BLE001 - whatever it is, it is raised where it was asked for
        fault.add_note(f"In a task:\n{traceback.format_exc()}")
        return key, None, fault


def answer(outcome: Outcome[Key, Result]) -> tuple[Key, Result]:
    """Key and result, or the fault raised."""
    key, result, fault = outcome
    if fault is not None:
        raise fault
    return key, cast("Result", result)
