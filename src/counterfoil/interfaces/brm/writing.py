"""Writes of a request: tried as a whole, then record by record as far as it was refused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import cast

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.brm.provisioning import WRITERS, Writer
from counterfoil.interfaces.brm.records import (
    Change,
    Row,
    demand_shown,
    disagreements,
    read_rows,
    refuse_derived,
    told_in_words,
)
from counterfoil.interfaces.brm.values import taken
from counterfoil.interfaces.brm.words import Word, Wording, dialect_of
from counterfoil.platform.records.unit_of_work import UnitOfWork

OF_ALL = frozenset(("made_by_command", "only_shown", "unknown_entity", "not_granted", "not_a_key"))
"""Codes of refusals that, where no record is named, hold for each: none needs to be tried alone."""

MOST_RECORDS = 10_000
TRIES = 4


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one record: its id, or why it was refused."""

    id: int | None = None
    created: bool = False
    problem: Problem | None = None


Work = Callable[[UnitOfWork, Wording, Sequence[Row]], list[Written]]
"""Writes rows in a transaction, all or none."""


Run = Callable[[Callable[[UnitOfWork], list[Written]]], list[Written]]
"""Runs something in a transaction of its own."""


def again(run: Run) -> Run:
    """The same, tried again where another one has made a record meanwhile: it is there then."""

    def act(work: Callable[[UnitOfWork], list[Written]]) -> list[Written]:
        for _ in range(TRIES - 1):
            try:
                return run(work)
            except Refused as refused:
                if refused.status != HTTPStatus.CONFLICT:
                    raise
        return run(work)

    return act


def write_each(
    run: Run,
    entity: str,
    rows: Sequence[Row],
    work: Work,
) -> list[Written]:
    """What became of every row."""
    results: dict[int, Written] = {}
    pending = [list(range(len(rows)))] if rows else []
    while pending:
        places = pending.pop()
        try:
            found = run(_on(entity, [rows[place] for place in places], work))
        except Refused as refused:
            pending += _apart(places, refused, results)
        else:
            results |= dict(zip(places, found, strict=True))
    return [results[place] for place in range(len(rows))]


def _on(entity: str, rows: Sequence[Row], work: Work) -> Callable[[UnitOfWork], list[Written]]:
    def act(uow: UnitOfWork) -> list[Written]:
        wording = dialect_of(uow.catalogue).entity(entity)
        try:
            return work(uow, wording, rows)
        except Refused as refused:
            raise told_in_words(wording, refused) from refused

    return act


def _apart(places: list[int], refused: Refused, results: dict[int, Written]) -> list[list[int]]:
    """The rows to try again: without those at fault, or in halves where none is named."""
    if len(places) == 1:
        results[places[0]] = Written(problem=refused.problems[0])
        return []
    named = {one.line: one for one in reversed(refused.problems) if one.line is not None}
    if named and all(0 < line <= len(places) for line in named):
        for line, problem in named.items():
            results[places[line - 1]] = Written(problem=problem)
        rest = [one for line, one in enumerate(places, start=1) if line not in named]
        return [rest] if rest else []
    if _is_of_all(refused):
        results |= dict.fromkeys(places, Written(problem=refused.problems[0]))
        return []
    middle = len(places) // 2
    return [places[middle:], places[:middle]]


def _is_of_all(refused: Refused) -> bool:
    return all(one.line is None and one.code in OF_ALL for one in refused.problems)


def create(uow: UnitOfWork, wording: Wording, rows: Sequence[Row]) -> list[Written]:
    """New records."""
    writer = WRITERS.get(wording.name, Writer())
    changes = read_rows(wording, rows, new=True)
    ids = writer.create(uow, wording, changes)
    _refuse_all(disagreements(uow, wording, changes, ids, _is_any, new=True))
    return [Written(one, created=True) for one in ids]


def update(uow: UnitOfWork, wording: Wording, rows: Sequence[Row]) -> list[Written]:
    """Changes of the records that the rows name by Id."""
    ids = ids_of(wording, rows)
    _change(uow, wording, read_rows(wording, rows, new=False), ids)
    return [Written(one) for one in ids]


def upsert(field: str) -> Work:
    """New records or changes of those that have the same value of a unique field."""

    def act(uow: UnitOfWork, wording: Wording, rows: Sequence[Row]) -> list[Written]:
        word = wording.demand(field)
        if not word.is_own or not (word.field.unique or word.name == "Id"):
            allowed = tuple(one.name for one in wording.listed() if one.field.unique)
            message = f"is no unique field of {wording.name}"
            raise Refused(Problem("not_a_key", message, word.name, allowed))
        changes = read_rows(wording, rows, new=False, asked=True)
        keys = [_key(wording, row, field, line) for line, row in enumerate(rows, start=1)]
        given = [one for one in keys if one is not None]
        known = (
            uow.ids_by(wording.entity.name, word.field.name, given)
            if word.name != "Id"
            else {one: cast("int", one) for one in given}
        )
        ids = [known.get(key) for key in keys]
        results: dict[int, Written] = {}
        new = [place for place, one in enumerate(ids) if one is None]
        old = [(place, one) for place, one in enumerate(ids) if one is not None]
        if new:
            made = _renumbered(create, uow, wording, rows, new)
            results |= dict(zip(new, made, strict=True))
        if old:
            places = [place for place, _ in old]
            old_ids = [one for _, one in old]
            try:
                chosen = [changes[place] for place in places]
                _change(uow, wording, chosen, old_ids)
                WRITERS.get(wording.name, Writer()).already(uow, chosen, old_ids)
            except Refused as refused:
                raise _at(refused, places) from refused
            results |= {place: Written(one) for place, one in old}
        return [results[place] for place in range(len(rows))]

    return act


def delete(uow: UnitOfWork, wording: Wording, rows: Sequence[Row]) -> list[Written]:
    """Records deleted that nothing refers to."""
    ids = ids_of(wording, rows)
    refuse_derived(wording)
    demand_shown(uow, wording, ids)
    uow.delete_many(wording.entity.name, ids)
    return [Written(one) for one in ids]


def undelete(uow: UnitOfWork, wording: Wording, rows: Sequence[Row]) -> list[Written]:
    """Deleted records put back."""
    ids = ids_of(wording, rows)
    refuse_derived(wording)
    uow.undelete_many(wording.entity.name, ids)
    return [Written(one) for one in ids]


def ids_of(wording: Wording, rows: Sequence[Row]) -> list[int]:
    """The Ids of the rows; refuses rows without one, and an Id that is there twice."""
    ids: dict[int, int] = {}
    problems: list[Problem] = []
    for line, row in enumerate(rows, start=1):
        value = next((row[name] for name in row if name.lower() == "id"), None)
        try:
            found = taken(wording.demand("Id"), value)
        except Refused:
            found = None
        if not isinstance(found, int) or isinstance(found, bool):
            problems.append(Problem("required", "has to be the Id of a record", "Id", line=line))
        elif found in ids:
            problems.append(Problem("double_key", f"{found} is there twice", "Id", line=line))
        else:
            ids[found] = line
    if problems:
        raise Refused(problems)
    return list(ids)


def _change(
    uow: UnitOfWork, wording: Wording, changes: Sequence[Change], ids: Sequence[int]
) -> None:
    refuse_derived(wording)
    demand_shown(uow, wording, ids)
    # A change computes them anew: what a caller has read is what stood there before.
    _refuse_all(disagreements(uow, wording, changes, ids, _is_computed))
    WRITERS.get(wording.name, Writer()).update(uow, wording, changes, ids)
    _refuse_all(disagreements(uow, wording, changes, ids, _is_given))


def _is_computed(word: Word) -> bool:
    return word.is_own and word.field.computed


def _is_any(_word: Word) -> bool:
    return True


def _is_given(word: Word) -> bool:
    return not _is_computed(word)


def _refuse_all(problems: Sequence[Problem]) -> None:
    if problems:
        raise Refused(problems)


def _key(wording: Wording, row: Row, field: str, line: int) -> object:
    word = wording.demand(field)
    value = next((row[name] for name in row if word.is_same(wording.word(name))), None)
    found = taken(word, value)
    if found is None and word.name != "Id":
        message = "is required: it tells which record is meant"
        raise Refused(Problem("required", message, word.name, line=line))
    return found


def _renumbered(
    work: Work, uow: UnitOfWork, wording: Wording, rows: Sequence[Row], places: Sequence[int]
) -> list[Written]:
    try:
        return work(uow, wording, [rows[place] for place in places])
    except Refused as refused:
        raise _at(refused, places) from refused


def _at(refused: Refused, places: Sequence[int]) -> Refused:
    """The refusal of some rows with the lines of all."""
    if _is_of_all(refused):
        first = refused.problems[0]
        return Refused([replace(first, line=place + 1) for place in places], refused.status)
    alone = places[0] + 1 if len(places) == 1 else None
    problems = [
        replace(one, line=alone if one.line is None else places[one.line - 1] + 1)
        for one in refused.problems
    ]
    return Refused(problems, refused.status)
