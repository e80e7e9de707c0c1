"""Of many rows to write at once, write those that can be and say of the others why not.

All are tried together; the rows that the refusal names are left out and the rest is tried again,
so that a write of any number of rows is a few statements, however many rows are wrong. Only where
a refusal names no row are the rows halved until it concerns one alone.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from counterfoil.core.problems import Problem, Refused

Result = TypeVar("Result")
Row = TypeVar("Row")

_AS_A_WHOLE = frozenset({401, 403, 405, 503})
"""Refusals that concern the request and not one of its rows, when they name no row."""


class Savepoints(Protocol):
    """Something with parts that can be undone: a unit of work."""

    def savepoint(self) -> AbstractContextManager[None]:
        """What is written within is undone by an exception."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Result]):
    """What became of one row: its result, or its problems and the status of their refusal."""

    result: Result | None
    problems: tuple[Problem, ...] = ()
    status: int = 200


def write_each(
    uow: Savepoints,
    rows: Sequence[Row],
    write: Callable[[list[Row]], Sequence[Result]],
) -> list[Outcome[Result]]:
    """Write the rows that are right; the outcome of every row, in order.

    ``write`` writes rows all or none, answers one result each, and tells problems by ``line``,
    the position from 1. Problems of an outcome tell the position among all rows.
    """
    outcomes: dict[int, Outcome[Result]] = {}
    waiting: list[list[int]] = [list(range(len(rows)))]
    while waiting:
        places = waiting.pop()
        if not places:
            continue
        try:
            with uow.savepoint():
                results = write([rows[place] for place in places])
            for place, result in zip(places, results, strict=True):
                outcomes[place] = Outcome(result)
        except Refused as refused:
            waiting.extend(_left(places, refused, outcomes))
    return [outcomes[place] for place in range(len(rows))]


def _left(
    places: list[int], refused: Refused, outcomes: dict[int, Outcome[Result]]
) -> list[list[int]]:
    """Note the rows that the refusal names; those still to be tried, in parts."""
    named: dict[int, list[Problem]] = {}
    for problem in refused.problems:
        line = 1 if len(places) == 1 else problem.line
        if line is not None and 1 <= line <= len(places):
            place = places[line - 1]
            named.setdefault(place, []).append(replace(problem, line=place + 1))
    for place, problems in named.items():
        outcomes[place] = Outcome(None, tuple(problems), refused.status)
    if named:
        return [[place for place in places if place not in named]]
    if refused.status in _AS_A_WHOLE:
        raise refused
    middle = len(places) // 2
    return [places[middle:], places[:middle]]
