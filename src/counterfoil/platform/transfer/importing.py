"""Importing a table file into an entity: created or changed by a unique field, chunk by chunk.

Running the same file again changes nothing, so an import that was stopped is simply run again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import FULL_ACCESS, Access, Entity, Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.each import write_each
from counterfoil.platform.records.refusals import TRY_AGAIN
from counterfoil.platform.records.unit_of_work import UnitOfWork
from counterfoil.platform.records.upserting import Upserted
from counterfoil.platform.transfer.mapping import (
    Column,
    map_columns,
    plain_name,
    read_cell,
    written_by_system,
)
from counterfoil.platform.transfer.tables import Progress, Row, open_table

ROWS_PER_CHUNK = 2_000
CHARACTERS_PER_CHUNK = 16 << 20
"""Of the texts of all cells; one row more than that is a chunk of its own."""
ATTEMPTS = 5
"""How often a chunk is tried that others are in the way of."""
MOST_PROBLEMS = 1_000
"""Problems told one by one; more are counted."""
MOST_WAITING = 100_000
"""Rows that may wait for the end of the file because what they refer to stands behind them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What to import into what: ``by`` is the unique field that tells records apart.

    With ``all_or_nothing`` one wrong row keeps the whole file out; otherwise the good rows are
    saved. ``dry_run`` saves nothing. An empty cell leaves a field as it is, or with
    ``clear_empty`` empties it. ``name`` is told as the file's in problems.
    """

    entity: str
    by: str = ""
    mapping: Mapping[str, str | None] = field(default_factory=dict)
    delimiter: str = ""
    all_or_nothing: bool = False
    dry_run: bool = False
    clear_empty: bool = False
    name: str = ""


@dataclass(slots=True)
class Imported:
    """What became of a file's rows; the first problems with their places."""

    file: str
    dry_run: bool = False
    read: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    ignored_columns: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, line: int, problems: Iterable[Problem]) -> None:
        """Count a refused row and keep its problems, as far as there is room."""
        self.refused += 1
        room = MOST_PROBLEMS - len(self.problems)
        self.problems += [replace(one, file=self.file, line=line) for one in islice(problems, room)]

    def count(self, one: Upserted) -> None:
        """Count a saved row."""
        self.created += one.action == "created"
        self.updated += one.action == "updated"
        self.unchanged += one.action == "unchanged"


class _NotKeptError(Exception):
    """Ends a transaction that shall leave nothing."""


def import_records(
    database: Database,
    path: Path,
    wanted: Import,
    *,
    now: datetime,
    access: Access = FULL_ACCESS,
    progress: Progress | None = None,
) -> Imported:
    """Import a file; each chunk is saved by itself, or all together with ``all_or_nothing``.

    Refuses a file that cannot be read at all and columns that go nowhere; what is wrong with rows
    stands in the answer. In the history the source is ``import``.
    """

    def begun() -> AbstractContextManager[UnitOfWork]:
        return database.transaction(now=now, source="import", access=access)

    name = wanted.name or path.name
    with open_table(path, name, progress, delimiter=wanted.delimiter) as table:
        with begun() as uow:
            rows = _Rows(uow, wanted, table.columns, Imported(name, wanted.dry_run))
        if not (wanted.all_or_nothing or wanted.dry_run):
            with rows.told_when_stopped():
                for chunk in _chunks(table.rows):
                    given = rows.read(chunk)
                    _retried(begun, rows, partial(rows.save, given))
                _retried(begun, rows, rows.finish)
            return rows.done
        with suppress(_NotKeptError), begun() as uow:
            for chunk in _chunks(table.rows):
                rows.save(rows.read(chunk), uow)
            rows.finish(uow)
            if wanted.dry_run or rows.done.refused:
                rows.keep_nothing()
                raise _NotKeptError
        return rows.done


def _retried(
    begun: Callable[[], AbstractContextManager[UnitOfWork]],
    rows: "_Rows",
    work: Callable[[UnitOfWork], None],
) -> None:
    """Do the work in a transaction; again, when others were in its way and nothing was kept."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with rows.restored_on_refusal(), begun() as uow:
                work(uow)
        except Refused as refused:
            if attempt == ATTEMPTS or refused.problems[0].code != TRY_AGAIN:
                raise
        else:
            return


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += sum(len(cell) for cell in row.cells if isinstance(cell, str))
        if len(chunk) == ROWS_PER_CHUNK or size > CHARACTERS_PER_CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


@dataclass(slots=True)
class _Given:
    """A row with the values it gives, and the lookups that are not resolved yet."""

    line: int
    values: Record
    lookups: dict[Column, object]
    problems: list[Problem]

    def copy(self) -> "_Given":
        """The same, to be changed by itself."""
        return _Given(self.line, dict(self.values), dict(self.lookups), list(self.problems))


class _Rows:
    """The rows of one file on their way into the records."""

    def __init__(
        self, uow: UnitOfWork, wanted: Import, columns: Sequence[str], done: Imported
    ) -> None:
        self._entity = uow.catalogue.entity(wanted.entity)
        if self._entity.created_by_command:
            message = f"records of {self._entity.plural} are made by commands only"
            raise Refused(Problem("made_by_command", message), status=405)
        if not uow.access.may(wanted.entity, "update"):
            uow.access.demand(self._entity, "create")
        written = written_by_system(uow.unrestricted().catalogue.entity(wanted.entity))
        mapping = dict.fromkeys((one for one in columns if plain_name(one) in written), None)
        mapped = map_columns(
            uow.catalogue, self._entity, columns, mapping | dict(wanted.mapping), done.file
        )
        done.ignored_columns = mapped.ignored
        self._columns = mapped.read
        self._key = _key(self._entity, wanted, mapped.read, done.file)
        self._clear = wanted.clear_empty
        self._all_or_nothing = wanted.all_or_nothing
        self._seen: set[int] = set()
        self._waiting: list[_Given] = []
        self.done = done

    def read(self, chunk: Sequence[Row]) -> list[_Given]:
        """The rows of a chunk that say something that can be."""
        self.done.read += len(chunk)
        return [one for one in map(self._given, chunk) if one is not None]

    def save(self, given: Sequence[_Given], uow: UnitOfWork) -> None:
        """Save the rows; those that refer to rows to come wait."""
        self._waiting += self._save(uow, [one.copy() for one in given])
        if len(self._waiting) > MOST_WAITING:
            message = "too many rows refer to later ones; put these first"
            raise Refused(Problem("too_many_waiting", message, file=self.done.file))

    def finish(self, uow: UnitOfWork) -> None:
        """Save the rows that have waited, as long as that leads to anything."""
        while self._waiting:
            left = self._save(uow, self._waiting)
            if len(left) == len(self._waiting):
                for one in left:
                    self.done.refuse(one.line, _unknown(one))
                return
            self._waiting = left

    @contextmanager
    def restored_on_refusal(self) -> Iterator[None]:
        """What was counted within is forgotten when it is refused as a whole."""
        done = replace(self.done, problems=list(self.done.problems))
        waiting = [one.copy() for one in self._waiting]
        try:
            yield
        except Refused:
            self.done, self._waiting = done, waiting
            raise

    @contextmanager
    def told_when_stopped(self) -> Iterator[None]:
        """A refusal after which rows of earlier chunks stay is told beside what became of them."""
        try:
            yield
        except Refused as refused:
            done = self.done
            if not done.created + done.updated + done.unchanged:
                raise
            done.refused += 1
            done.problems += [replace(one, file=done.file) for one in refused.problems]

    def keep_nothing(self) -> None:
        """Nothing was kept: of a dry run the counts say what would have been."""
        if not self.done.dry_run:
            self.done.created = self.done.updated = self.done.unchanged = 0

    def _given(self, row: Row) -> _Given | None:
        if row.fault:
            self.done.refuse(row.line, [Problem("malformed_row", row.fault)])
            return None
        given = _Given(row.line, {}, {}, [])
        for column in self._columns:
            read = column.lookup or column.field
            try:
                value = read_cell(read, row.cells[column.place])
            except ValueError as fault:
                allowed = column.field.choices
                given.problems.append(Problem("wrong_type", str(fault), column.path, allowed))
                continue
            if value is None:
                if self._clear and not column.field.immutable:
                    given.values[column.field.name] = None
            elif column.lookup is not None:
                given.lookups[column] = value
            else:
                given.values[column.field.name] = value
        if self._is_double(given):
            message = "an earlier row is about the same record"
            given.problems.append(Problem("double_key", message, self._key))
        if given.problems:
            self.done.refuse(given.line, given.problems)
            return None
        return given

    def _is_double(self, given: _Given) -> bool:
        if not self._key:
            return False
        keys = [given.values.get(self._key)]
        keys += [value for column, value in given.lookups.items() if column.field.name == self._key]
        key = next((one for one in keys if one is not None), None)
        if key is None:
            return False
        mark = hash(str(key))
        double = mark in self._seen
        self._seen.add(mark)
        return double

    def _save(self, uow: UnitOfWork, given: Sequence[_Given]) -> list[_Given]:
        """Save what can be, in as many rounds as rows stand below each other; what has to wait."""
        left = list(given)
        while left:
            self._resolve(uow, left)
            ready = [one for one in left if not one.lookups]
            left = [one for one in left if one.lookups]
            if not ready:
                break
            self._write(uow, ready)
        waiting = []
        for one in left:
            if all(column.field.target == self._entity.name for column in one.lookups):
                waiting.append(one)
            else:
                self.done.refuse(one.line, _unknown(one))
        return waiting

    def _resolve(self, uow: UnitOfWork, given: Sequence[_Given]) -> None:
        """Put ids in place of the names that are known; one query for each column."""
        for column in self._columns:
            if column.lookup is None:
                continue
            names = [one.lookups[column] for one in given if column in one.lookups]
            if not names:
                continue
            found = uow.ids_by(column.field.target, column.lookup.name, names)
            for one in given:
                if one.lookups.get(column) in found:
                    one.values[column.field.name] = found[one.lookups.pop(column)]

    def _write(self, uow: UnitOfWork, given: Sequence[_Given]) -> None:
        def write(rows: list[Record]) -> list[Upserted]:
            if self._key:
                return uow.upsert_many(self._entity.name, self._key, rows)
            made = uow.create_many(self._entity.name, rows)
            return [Upserted(one, "created") for one in made]

        outcomes = write_each(uow, [one.values for one in given], write)
        for one, outcome in zip(given, outcomes, strict=True):
            if outcome.result is None:
                self.done.refuse(one.line, outcome.problems)
            else:
                self.done.count(outcome.result)


def _unknown(given: _Given) -> list[Problem]:
    """That what the row refers to is not there, told by the name it was given."""
    problems = []
    for column, value in given.lookups.items():
        noun = column.field.target.replace("_", " ")
        named = column.lookup.name if column.lookup else "id"
        message = f"there is no {noun} with {named} {value!r}"
        problems.append(Problem("unknown_reference", message, column.path))
    return problems


def _key(entity: Entity, wanted: Import, columns: Sequence[Column], file: str) -> str:
    """The unique field that tells records apart: the one named, or the first in the file.

    An entity without one only gets new records; its other constraints keep a second run out.
    """
    unique = [one.name for one in entity.fields if one.unique and not one.secret]
    given = [column.field.name for column in columns]
    by = wanted.by.partition(".")[0] if wanted.by else ""
    if by and by not in unique and f"{by}_id" in unique:
        by = f"{by}_id"
    if not by:
        first = next((name for name in unique if name in given), "")
        if first or not unique:
            return first
        by = unique[0]
    if by not in unique:
        message = f"is no unique field of {entity.name}"
        raise Refused(Problem("not_a_key", message, by, tuple(unique), file))
    if by not in given:
        message = "has to be in the file: it tells which record is meant"
        raise Refused(Problem("missing_key", message, by, tuple(unique), file, line=1))
    return by
