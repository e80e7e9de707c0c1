"""The unit of work: everything one command reads and writes, in one transaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import psycopg
import pyarrow as pa
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    MetaData,
    Table,
    any_,
    insert,
    literal,
    select,
    text,
)

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import FULL_ACCESS, Access, Catalogue, Entity, Record
from counterfoil.platform.metadata.access import Operation
from counterfoil.platform.metadata.validation import BIGINT_MAX
from counterfoil.platform.records.arrow_copy import (
    copy_table,
    fitted_table,
    read_table,
    records_to_arrow,
)
from counterfoil.platform.records.exact_json import encode_json
from counterfoil.platform.records.guarding import Guard
from counterfoil.platform.records.pages import Filter, Page, plan_listing, shown_columns
from counterfoil.platform.records.refusals import refusing
from counterfoil.platform.records.writing import (
    changed_fields,
    check_new_rows,
    merge_changes,
    update_statement,
    write_history,
)

# The class has a method named list, so its signatures use these names.
Ids = list[int]
Records = list[Record]
OldRows = list[Record | None]
Change = tuple[Record, dict[str, list[object]]]

RecordCheck = Callable[["UnitOfWork", list[Record], list[Record | None]], list[Problem]]
"""A room's own rules for an entity, for many rows at once.

Gets the full new rows, whose computed fields it may fill in place, and the old rows (None for a
new record). Any problem refuses the whole write.
"""


def merge_checks(*rooms: Mapping[str, RecordCheck]) -> dict[str, RecordCheck]:
    """The rules of several rooms as one; of one entity the rooms' rules run in that order.

    A later room's rule runs only on rows that the earlier ones found right.
    """
    merged: dict[str, RecordCheck] = {}
    for checks in rooms:
        for entity, check in checks.items():
            merged[entity] = _both(merged[entity], check) if entity in merged else check
    return merged


def _both(first: RecordCheck, second: RecordCheck) -> RecordCheck:
    def check(uow: "UnitOfWork", rows: Records, old_rows: OldRows) -> list[Problem]:
        return first(uow, rows, old_rows) or second(uow, rows, old_rows)

    return check


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer given before to a request with the same idempotency key."""

    status: int
    body: str


class UnitOfWork:
    """Records read and written in one transaction; made by ``Database.transaction``.

    ``now`` is the instant of everything written, ``source`` and ``actor`` stand in the history.
    In a ``rehearsal`` nothing is committed in the end.
    Writes either happen as a whole or raise Refused and change nothing.

    ``access`` says what the actor may do. ``catalogue`` is what he sees: an unreadable field or an
    entity without a grant is not in it, and a record outside the row filter is not there.
    """

    def __init__(
        self,
        connection: Connection,
        catalogue: Catalogue,
        tables: MetaData,
        checks: Mapping[str, RecordCheck],
        *,
        now: datetime,
        source: str,
        actor: str,
        rehearsal: bool = False,
        access: Access = FULL_ACCESS,
    ) -> None:
        self.now = now.astimezone(UTC)
        self.rehearsal = rehearsal
        self.source = source
        self.actor = actor
        self.access = access
        self._guard = Guard(connection, access, catalogue, tables)
        self.catalogue = self._guard.seen
        self._whole = catalogue
        self._connection = connection
        self._tables = tables
        self._checks = checks

    def unrestricted(self) -> "UnitOfWork":
        """The same transaction with every right: for rules and commands on the actor's behalf."""
        if self.access.unrestricted:
            return self
        return UnitOfWork(
            self._connection,
            self._whole,
            self._tables,
            self._checks,
            now=self.now,
            source=self.source,
            actor=self.actor,
            rehearsal=self.rehearsal,
        )

    def row_conditions(
        self, entity: str, operation: Operation = "read"
    ) -> list[ColumnElement[bool]]:
        """What a record has to meet so that the actor may do this with it; empty for all.

        Every statement that reads an entity's table for the actor has these in its WHERE.
        """
        return self._guard.conditions(entity, operation)

    # -- writing -----------------------------------------------------------------------------

    def create(self, entity: str, values: Record, *, by_command: bool = False) -> Record:
        """Create one record and return it with its header.

        ``by_command`` lets the values hold computed fields. Refused: 422 with all problems of
        the values, 409 when a unique field has the value already.
        """
        ids = self._create(entity, [values], by_command=by_command, numbered=False)
        return self.get(entity, ids[0])

    def create_many(self, entity: str, rows: Sequence[Record], *, by_command: bool = False) -> Ids:
        """Create many records with one COPY, all or none; their ids in order of the rows.

        A problem's ``line`` is the row's position from 1.
        """
        return self._create(entity, rows, by_command=by_command, numbered=True)

    def _create(
        self, entity: str, rows: Sequence[Record], *, by_command: bool, numbered: bool
    ) -> Ids:
        declared, seen = self._guard.demand(entity, "create", by_command=by_command)
        records, problems = check_new_rows(
            declared, rows, by_command=by_command, numbered=numbered, seen=seen
        )
        problems += self._guard.unseen_references(seen, rows)
        if problems:
            raise Refused(problems)
        if not records:
            return []
        ids = self.allocate_ids(entity, len(records))
        header: Record = {"created_at": self.now, "updated_at": self.now, "row_version": 1}
        records = [
            {"id": record_id, **header, **record}
            for record_id, record in zip(ids, records, strict=True)
        ]
        self._run_check(entity, records, [None] * len(records))
        with self._guard.within_rows(seen, ids, "create"):
            with refusing(self._whole, self.catalogue):
                copy_table(self._driver, entity, records_to_arrow(declared, records))
            if declared.history:
                changes = [(record, changed_fields(declared, None, record)) for record in records]
                self._write_history(declared, changes, "create")
        return ids

    def update(
        self,
        entity: str,
        record_id: int,
        changes: Record,
        *,
        expected_version: int | None = None,
        by_command: bool = False,
    ) -> Record:
        """Change one record and return it; without a difference nothing is written.

        Refused: 404 unknown id, 409 when ``expected_version`` is not the row's version, 422 with
        all problems of the changes.
        """
        self._guard.demand(entity, "update", by_command=by_command)
        old = self._locked_rows(self.catalogue.entity(entity), [record_id], "update")[0]
        if expected_version is not None and old["row_version"] != expected_version:
            message = f"has changed meanwhile: its version is {old['row_version']}"
            raise Refused(Problem("version_conflict", message, "row_version"), status=409)
        self._update(entity, [old], [changes], by_command=by_command)
        return self.get(entity, record_id)

    def update_many(
        self,
        entity: str,
        changes: Sequence[tuple[int, Record]],
        *,
        by_command: bool = False,
    ) -> None:
        """Change many records, all or none, with one UPDATE; each id at most once."""
        if not changes:
            return
        ids = [record_id for record_id, _ in changes]
        if len(set(ids)) != len(ids):
            raise ValueError("a record is changed twice in one update_many")
        self._guard.demand(entity, "update", by_command=by_command)
        old_rows = self._locked_rows(self.catalogue.entity(entity), ids, "update")
        self._update(entity, old_rows, [change for _, change in changes], by_command=by_command)

    def _update(
        self, entity: str, old_rows: Records, changes: Records, *, by_command: bool
    ) -> None:
        declared, seen = self._guard.demand(entity, "update", by_command=by_command)
        new_rows, problems = merge_changes(
            declared, old_rows, changes, by_command=by_command, seen=seen
        )
        problems += self._guard.unseen_references(seen, changes)
        if problems:
            raise Refused(problems)
        self._run_check(entity, new_rows, list(old_rows))
        differing: list[Change] = []
        for old, new in zip(old_rows, new_rows, strict=True):
            fields = changed_fields(declared, old, new)
            if fields:
                new["updated_at"] = self.now
                new["row_version"] = cast("int", old["row_version"]) + 1
                differing.append((new, fields))
        if not differing:
            return
        names = sorted({name for _, fields in differing for name in fields})
        columns = ("id", "updated_at", "row_version", *names)
        rows = [{name: record[name] for name in columns} for record, _ in differing]
        with self._guard.within_rows(seen, [record["id"] for record, _ in differing], "update"):
            self._execute(update_statement(declared, names), rows=encode_json(rows))
            if declared.history:
                self._write_history(declared, differing, "update")

    def _locked_rows(self, entity: Entity, ids: Sequence[int], operation: Operation) -> Records:
        """The records of the ids in that order, locked against other writers.

        Refused: 404 what the actor does not see, 403 what he may only read.
        """
        table = self._table(entity.name)
        statement = (
            select(table)
            .where(table.c.id.in_(_possible(ids)), *self.row_conditions(entity.name))
            .order_by(table.c.id)
        ).with_for_update()
        rows = [dict(row) for row in self._connection.execute(statement).mappings()]
        found: dict[int, Record] = {cast("int", row["id"]): row for row in rows}
        missing = [record_id for record_id in ids if record_id not in found]
        if missing:
            raise _unknown_records(entity, missing)
        self._guard.demand_rows(entity, ids, operation)
        return [found[record_id] for record_id in ids]

    def _run_check(self, entity: str, records: Records, old_rows: OldRows) -> None:
        check = self._checks.get(entity)
        problems = check(self.unrestricted(), records, old_rows) if check else []
        if problems:
            raise Refused(self._guard.told(problems, entity, [*records, *old_rows]))

    def _write_history(
        self,
        entity: Entity,
        changes: Sequence[Change],
        action: str,
    ) -> None:
        write_history(
            self._driver,
            entity,
            changes,
            now=self.now,
            actor=self.actor,
            source=self.source,
            action=action,
        )

    # -- reading -----------------------------------------------------------------------------

    def get(self, entity: str, record_id: int) -> Record:
        """The record of that id, without its secrets; refuses (404) an unknown one."""
        declared = self.catalogue.entity(entity)
        table = self._table(entity)
        columns = shown_columns(declared, table)
        statement = select(*columns).where(
            table.c.id.in_(_possible([record_id])), *self.row_conditions(entity)
        )
        row = self._connection.execute(statement).mappings().first()
        if row is None:
            raise _unknown_records(declared, [record_id])
        return dict(row)

    def find(self, entity: str, **equals: object) -> Record | None:
        """The first record, by id, whose fields have these values; None finds an empty field."""
        declared = self.catalogue.entity(entity)
        filters = [
            Filter(name, "is_null", value=True)
            if value is None
            else Filter(name, "eq", value=value)
            for name, value in equals.items()
        ]
        rows = self.row_conditions(entity)
        listing = plan_listing(declared, self._table(entity), filters, ("id",), None, 1, rows)
        row = self._connection.execute(listing.statement).mappings().first()
        return None if row is None else dict(row)

    def ids_by(self, entity: str, field: str, values: Iterable[object]) -> dict[object, int]:
        """Value of a unique field to the id of its record, for those that exist; one query."""
        table = self._table(entity)
        declared = self.catalogue.entity(entity)
        if field not in (known.name for known in declared.readable):
            known = tuple(known.name for known in declared.readable)
            raise Refused(
                Problem("unknown_field", f"{entity} has no such field", field, allowed=known)
            )
        wanted = list(dict.fromkeys(values))
        if not wanted:
            return {}
        column = table.c[field]
        statement = select(column, table.c.id).where(
            column == any_(literal(wanted, ARRAY(column.type))), *self.row_conditions(entity)
        )
        return {row[0]: row[1] for row in self._connection.execute(statement)}

    def list(
        self,
        entity: str,
        *,
        filters: Sequence[Filter] = (),
        sort: Sequence[str] = ("id",),
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page:
        """One keyset page of the records all filters let through.

        ``sort`` names fields, ``-name`` descends; empty values come last, and first when
        descending. ``cursor`` is the next_cursor of the page before, for the same sort order.
        Refuses unknown fields, operators and unreadable values, naming the allowed ones.
        """
        declared = self.catalogue.entity(entity)
        listing = plan_listing(
            declared,
            self._table(entity),
            filters,
            sort,
            cursor,
            limit,
            self.row_conditions(entity),
        )
        rows = self._connection.execute(listing.statement).mappings()
        return listing.page([dict(row) for row in rows])

    def query(self, sql: str, **parameters: object) -> Records:
        """The rows of a SELECT with ``:name`` parameters, column name to value.

        This and the other ways of SQL know no access: they take ``unrestricted()``.
        """
        self._refuse_sql()
        return self._query(sql, **parameters)

    def execute(self, sql: str, **parameters: object) -> int:
        """Run a statement with ``:name`` parameters; the number of rows it changed.

        Neither checks nor history apply: for drafts and the bookkeeping of commands.
        """
        self._refuse_sql()
        return self._execute(sql, **parameters)

    def _refuse_sql(self) -> None:
        if not self.access.unrestricted:
            raise RuntimeError("SQL of a room's own knows no access; ask unrestricted()")

    def _query(self, sql: str, **parameters: object) -> Records:
        with refusing(self._whole):
            rows = self._connection.execute(text(sql), parameters).mappings()
            return [dict(row) for row in rows]

    def _execute(self, sql: str, **parameters: object) -> int:
        with refusing(self._whole, self.catalogue):
            return self._connection.execute(text(sql), parameters).rowcount

    # -- bulk --------------------------------------------------------------------------------

    def read_arrow(self, sql: str, **parameters: object) -> pa.Table:
        """The rows of a SELECT with ``:name`` parameters as an Arrow table.

        numeric(p,s) arrives as decimal128(p,s), timestamptz as timestamp('us', 'UTC'), jsonb as
        text. Refuses columns without a declared type, such as a sum: cast them in the SELECT.
        """
        self._refuse_sql()
        with refusing(self._whole):
            return read_table(self._driver, self._with_literals(sql, parameters))

    def copy_in(self, entity: str, table: pa.Table) -> int:
        """COPY a table's columns, by name, into an entity; the number of rows.

        Values are not checked beyond the types and constraints of the columns, and there is no
        history: for bulk results of computations. Absent header columns are filled in.
        """
        header: Record = {"created_at": self.now, "updated_at": self.now, "row_version": 1}
        self._refuse_sql()
        fitted = fitted_table(self._whole.entity(entity), table, header)
        with refusing(self._whole):
            return copy_table(self._driver, entity, fitted)

    def allocate_ids(self, entity: str, count: int) -> Ids:
        """Fresh ids from the entity's sequence, in one query; unused ones are lost."""
        table = self._table(entity)
        rows = self._connection.execute(
            text(
                "SELECT nextval(CAST(:sequence AS regclass))"
                " FROM generate_series(1, CAST(:count AS bigint))"
            ),
            {"sequence": f'"{table.name}_id_seq"', "count": count},
        )
        return [row[0] for row in rows.all()]

    # -- numbers, locks and remembered answers -----------------------------------------------

    def next_numbers(self, series: str, count: int) -> int:
        """The first of ``count`` consecutive numbers of a series, which begins with 1.

        The series stays locked until the transaction ends, and a rollback gives the numbers
        back: so they have no gap.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}")
        rows = self._query(
            "INSERT INTO number_series (name, next_number) VALUES (:series, 1 + :count)"
            " ON CONFLICT (name) DO UPDATE"
            " SET next_number = number_series.next_number + :count"
            " RETURNING next_number - :count AS first",
            series=series,
            count=count,
        )
        return cast("int", rows[0]["first"])

    def lock(self, name: str) -> bool:
        """Take a named lock until the transaction ends; False when another one holds it."""
        rows = self._query(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0)) AS taken", name=name
        )
        return bool(rows[0]["taken"])

    def remembered_answer(self, key: str, fingerprint: str) -> Answer | None:
        """The answer stored for an idempotency key, or None when the request is new.

        A second request with the key waits here until the first has ended. Refused (422) when
        the key was used for a request with another fingerprint.
        """
        self._query(
            "SELECT pg_advisory_xact_lock(hashtextextended(:name, 1))", name=f"answer {key}"
        )
        rows = self._query(
            "SELECT fingerprint, status, body FROM idempotent_answer WHERE key = :key", key=key
        )
        if not rows:
            return None
        if rows[0]["fingerprint"] != fingerprint:
            message = "was used for another request"
            raise Refused(Problem("idempotency_key_reused", message, "Idempotency-Key"))
        return Answer(cast("int", rows[0]["status"]), cast("str", rows[0]["body"]))

    def remember_answer(self, key: str, fingerprint: str, status: int, body: str) -> None:
        """Store the answer of a request, in the transaction of what it changed."""
        self._connection.execute(
            insert(self._tables.tables["idempotent_answer"]).values(
                key=key, fingerprint=fingerprint, status=status, body=body, created_at=self.now
            )
        )

    # -- the connection ----------------------------------------------------------------------

    @property
    def _driver(self) -> psycopg.Connection[object]:
        return cast("psycopg.Connection[object]", self._connection.connection.driver_connection)

    def _table(self, entity: str) -> Table:
        self.catalogue.entity(entity)
        return self._tables.tables[entity]

    def _with_literals(self, sql: str, parameters: Mapping[str, object]) -> str:
        """COPY takes no parameters, so the driver writes them into the statement, quoted."""
        compiled = text(sql).bindparams(**parameters).compile(self._connection)
        return psycopg.ClientCursor(self._driver).mogrify(str(compiled), compiled.params)


def _possible(ids: Sequence[int]) -> Ids:
    return [record_id for record_id in ids if 0 < record_id <= BIGINT_MAX]


def _unknown_records(entity: Entity, ids: Sequence[int]) -> Refused:
    noun = entity.label or entity.name.replace("_", " ")
    problems = [
        Problem("unknown_record", f"there is no {noun} {record_id}", "id") for record_id in ids
    ]
    return Refused(problems, status=404)
