"""The unit of work: everything one command reads and writes, in one transaction."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Protocol, cast

import pyarrow as pa
from sqlalchemy import ARRAY, ColumnElement, Connection, MetaData, any_, literal, select

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import FULL_ACCESS, Access, Catalogue, Entity, Record
from counterfoil.platform.metadata.access import Operation
from counterfoil.platform.records.arrow_copy import (
    copy_table,
    fitted_table,
    records_to_arrow,
)
from counterfoil.platform.records.deleting import (
    LAST_CHANGES,
    Doomed,
    deleted_fields,
    deleted_with,
    find_references,
    forget_details,
    not_deleted,
    referrers,
    refuse_undeletable,
    restored_rows,
)
from counterfoil.platform.records.exact_json import encode_json
from counterfoil.platform.records.guarding import Guard
from counterfoil.platform.records.history import History
from counterfoil.platform.records.locating import locate_refusal
from counterfoil.platform.records.reading import (
    Reading,
    possible_ids,
    refuse_other_versions,
    unknown_records,
)
from counterfoil.platform.records.refusals import refusing
from counterfoil.platform.records.statements import Ids, Records
from counterfoil.platform.records.upserting import (
    Upserted,
    describe_upserts,
    key_field,
    read_keys,
    settle_rows,
)
from counterfoil.platform.records.writing import (
    changed_fields,
    check_new_rows,
    merge_changes,
    update_statement,
    write_history,
)

OldRows = list[Record | None]
Change = tuple[Record, dict[str, list[object]]]
Upserts = list[Upserted]

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


class RuleRunner(Protocol):
    """What the customer's rules do with rows that are written; none of it where there are none."""

    def fill(
        self, uow: "UnitOfWork", entity: Entity, rows: Records, old_rows: OldRows
    ) -> list[Problem]:
        """Fill the rows in place, before the rooms' own rules see them."""
        ...

    def check(
        self, uow: "UnitOfWork", entity: Entity, rows: Records, old_rows: OldRows
    ) -> list[Problem]:
        """What the rules have against the rows as they would be written."""
        ...

    def follow(self, uow: "UnitOfWork", entity: Entity, rows: Records, old_rows: OldRows) -> None:
        """Do what follows from rows that have been written."""
        ...


class UnitOfWork(Reading, History):
    """Records read and written in one transaction; made by ``Database.transaction``.

    ``now`` is the instant of everything written, ``source`` and ``actor`` stand in the history.
    In a ``rehearsal`` nothing is committed in the end.
    Writes either happen as a whole or raise Refused and change nothing.

    ``access`` says what the actor may do, ``asked_by`` what he may on whose behalf it acts.
    ``catalogue`` is what he sees: without unreadable fields and entities that are not granted.
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
        request_id: str | None = None,
        rehearsal: bool = False,
        access: Access = FULL_ACCESS,
        rules: RuleRunner | None = None,
        depth: int = 0,
        asked_by: Access | None = None,
    ) -> None:
        guard = Guard(connection, access, catalogue, tables)
        super().__init__(connection, guard, tables, now=now)
        self.rehearsal = rehearsal
        self.source = source
        self.actor = actor
        self.request_id = request_id
        self.depth = depth
        self.asked_by = asked_by or access
        self._rules = rules
        self._checks = checks

    def unrestricted(self) -> "UnitOfWork":
        """The same transaction with every right: for rules and commands on the actor's behalf."""
        return (
            self if self.access.unrestricted else self._again(self.source, self.depth, self.access)
        )

    def by_rule(self) -> "UnitOfWork":
        """The same transaction for what a rule does, one step deeper than what it follows from."""
        return self._again("rule", self.depth + 1, FULL_ACCESS)

    def _again(self, source: str, depth: int, asked_by: Access) -> "UnitOfWork":
        return UnitOfWork(
            self._connection,
            self._whole,
            self._tables,
            self._checks,
            now=self.now,
            source=source,
            actor=self.actor,
            request_id=self.request_id,
            rehearsal=self.rehearsal,
            rules=self._rules,
            depth=depth,
            asked_by=asked_by,
        )

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
        records = self._with_header(entity, records)
        self._run_check(entity, records, [None] * len(records))
        self._insert(declared, seen, records, range(1, len(records) + 1))
        return [cast("int", record["id"]) for record in records]

    def _with_header(self, entity: str, records: Records) -> Records:
        ids = self.allocate_ids(entity, len(records))
        header: Record = {"created_at": self.now, "updated_at": self.now, "row_version": 1}
        return [
            {"id": record_id, **header, **record}
            for record_id, record in zip(ids, records, strict=True)
        ]

    def _insert(
        self, declared: Entity, seen: Entity, records: Records, lines: Sequence[int]
    ) -> None:
        with self._guard.within_rows(seen, [record["id"] for record in records], "create"):
            self._copy(declared, seen, records, lines, "create")
        self._follow(declared, records, [None] * len(records))

    def _copy(
        self,
        declared: Entity,
        seen: Entity,
        records: Records,
        lines: Sequence[int],
        action: str,
    ) -> None:
        """COPY checked records with their history; of many, a problem tells the line."""
        try:
            several = self.savepoint() if len(records) > 1 else nullcontext()
            with several, refusing(self._whole, self.catalogue):
                copy_table(self._driver, declared.name, records_to_arrow(declared, records))
        except Refused as refused:
            raise locate_refusal(self.unrestricted(), seen, records, lines, refused) from refused
        if declared.history or action != "create":
            changes = [(record, changed_fields(declared, None, record)) for record in records]
            self._write_history(declared, changes, action)

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
        if expected_version is not None:
            refuse_other_versions([old], {record_id: expected_version})
        self._update(entity, [old], [changes], by_command=by_command)
        return self.get(entity, record_id)

    def update_many(
        self,
        entity: str,
        changes: Sequence[tuple[int, Record]],
        *,
        expected_versions: Mapping[int, int] | None = None,
        by_command: bool = False,
    ) -> set[int]:
        """Change many records, all or none, with one UPDATE; each id at most once.

        Answers the ids of those that differ now. Refused (409) when a record is not of its
        expected version.
        """
        if not changes:
            return set()
        ids = [record_id for record_id, _ in changes]
        if len(set(ids)) != len(ids):
            raise ValueError("a record is changed twice in one update_many")
        self._guard.demand(entity, "update", by_command=by_command)
        old_rows = self._locked_rows(self.catalogue.entity(entity), ids, "update")
        refuse_other_versions(old_rows, expected_versions or {})
        return self._update(
            entity, old_rows, [change for _, change in changes], by_command=by_command
        )

    def _update(
        self, entity: str, old_rows: Records, changes: Records, *, by_command: bool
    ) -> set[int]:
        declared, seen = self._guard.demand(entity, "update", by_command=by_command)
        new_rows, problems = merge_changes(
            declared, old_rows, changes, by_command=by_command, seen=seen
        )
        problems += self._guard.unseen_references(seen, changes, old_rows)
        if problems:
            raise Refused(problems)
        self._run_check(entity, new_rows, list(old_rows))
        return self._change(declared, seen, old_rows, new_rows, range(1, len(new_rows) + 1))

    def fill_in(self, entity: str, changes: Sequence[tuple[int, Record]]) -> set[int]:
        """Change computed fields that follow from another write, with one UPDATE and history.

        The rules of the room that computed them are not asked again.
        """
        self._refuse_sql()
        declared, values = self._whole.entity(entity), dict(changes)
        old_rows = self._locked(entity, "id", values, deleting=False) if changes else []
        new_rows = [old | values[old["id"]] for old in old_rows]
        return self._change(declared, declared, old_rows, new_rows, range(1, len(new_rows) + 1))

    def _change(
        self,
        declared: Entity,
        seen: Entity,
        old_rows: Records,
        new_rows: Records,
        lines: Sequence[int],
    ) -> set[int]:
        """One UPDATE of the checked rows that differ, with their history; the ids of those."""
        differing: list[Change] = []
        for old, new in zip(old_rows, new_rows, strict=True):
            fields = changed_fields(declared, old, new)
            if fields:
                new["updated_at"] = self.now
                new["row_version"] = cast("int", old["row_version"]) + 1
                differing.append((new, fields))
        if not differing:
            return set()
        names = sorted({name for _, fields in differing for name in fields})
        columns = ("id", "updated_at", "row_version", *names)
        rows = [{name: record[name] for name in columns} for record, _ in differing]
        ids = [cast("int", record["id"]) for record, _ in differing]
        with self._guard.within_rows(seen, ids, "update"):
            try:
                with self.savepoint() if len(new_rows) > 1 else nullcontext():
                    self._execute(update_statement(declared, names), rows=encode_json(rows))
            except Refused as refused:
                raise locate_refusal(
                    self.unrestricted(), seen, new_rows, lines, refused
                ) from refused
            if declared.history:
                self._write_history(declared, differing, "update")
        before = {old["id"]: old for old in old_rows}
        self._follow(declared, [new for new, _ in differing], [before[one] for one in ids])
        return set(ids)

    def upsert_many(
        self, entity: str, field: str, rows: Sequence[Record], *, by_command: bool = False
    ) -> Upserts:
        """Create the records whose ``field`` no record has yet and change the others; all or none.

        ``field`` is a unique field; every row has it, no two rows the same value. Fields that
        never change may stand in the row of an existing record as they are. One query finds, one
        COPY creates, one UPDATE changes, and rows that differ in nothing write nothing. Another
        one that creates the same records at the same time is waited for, and what it made is then
        changed.
        """
        seen = self.catalogue.entity(entity)
        key = key_field(seen, field)
        keys, problems = read_keys(key, rows)
        if problems:
            raise Refused(problems)
        while rows:
            visible = self.row_conditions(entity)
            rows_there = self._locked(entity, key.name, keys, visible, deleting=False)
            found = {row[key.name]: row for row in rows_there}
            try:
                with self.savepoint():
                    old_rows = [found.get(one) for one in keys]
                    return self._upsert(seen, key.name, rows, old_rows, by_command=by_command)
            except Refused as refused:
                conflict = any(problem.code == "not_unique" for problem in refused.problems)
                if not conflict or self.ids_by(entity, key.name, keys).keys() <= found.keys():
                    raise
        return []

    def _upsert(
        self,
        seen: Entity,
        key: str,
        rows: Sequence[Record],
        old_rows: OldRows,
        *,
        by_command: bool,
    ) -> Upserts:
        declared = self._demand_upsert(seen, old_rows, by_command=by_command)
        settled, problems = settle_rows(declared, seen, rows, old_rows, by_command=by_command)
        problems += self._guard.unseen_references(seen, rows)
        if problems:
            raise Refused(problems)
        fresh = [new for new, old in zip(settled, old_rows, strict=True) if old is None]
        made = iter(self._with_header(seen.name, fresh))
        new_rows = [
            next(made) if old is None else new for new, old in zip(settled, old_rows, strict=True)
        ]
        self._run_check(seen.name, new_rows, old_rows)
        numbered = list(zip(new_rows, old_rows, range(1, len(rows) + 1), strict=True))
        # In the order of the keys, so that two that create the same ones never wait in a circle.
        created = sorted(
            ((new, line) for new, old, line in numbered if old is None),
            key=lambda one: str(one[0][key]),
        )
        if created:
            lines = [line for _, line in created]
            self._insert(declared, seen, [new for new, _ in created], lines)
        kept = [(new, old, line) for new, old, line in numbered if old is not None]
        changed = self._change(
            declared,
            seen,
            [old for _, old, _ in kept],
            [new for new, _, _ in kept],
            [line for _, _, line in kept],
        )
        return describe_upserts(new_rows, old_rows, changed)

    def _demand_upsert(self, seen: Entity, old_rows: OldRows, *, by_command: bool) -> Entity:
        declared = self._whole.entity(seen.name)
        if None in old_rows:
            self._guard.demand(seen.name, "create", by_command=by_command)
        known = [cast("int", row["id"]) for row in old_rows if row is not None]
        if known:
            self._guard.demand(seen.name, "update", by_command=by_command)
            self._guard.demand_rows(seen, known, "update")
        return declared

    # -- deleting ----------------------------------------------------------------------------

    def delete_many(
        self,
        entity: str,
        ids: Sequence[int],
        *,
        expected_versions: Mapping[int, int] | None = None,
    ) -> None:
        """Delete records that nothing refers to, all or none; their details go with them.

        The history keeps all their values. Refused: 404 unknown ids, 405 records that commands
        make, 409 other versions than expected, or with the names of what still refers to them.
        """
        declared, seen = self._guard.demand(entity, "delete")
        refuse_undeletable(declared)
        asked = list(dict.fromkeys(ids))
        rows = self._locked_rows(seen, asked, "delete")
        refuse_other_versions(rows, expected_versions or {})
        doomed: Doomed = [(declared, rows)]
        found = {(entity, record_id) for record_id in asked}
        for owner, owners in doomed:
            for referrer in referrers(self._whole, owner.name) if owners else ():
                if referrer.details:
                    name, field = referrer.entity.name, referrer.field.name
                    parts = self._locked(name, field, [row["id"] for row in owners])
                    details = [row for row in parts if (name, row["id"]) not in found]
                    found |= {(name, row["id"]) for row in details}
                    doomed.append((referrer.entity, details))
        problems = find_references(self.unrestricted(), self._whole, self.catalogue, doomed, asked)
        if problems:
            raise Refused(problems, status=409)
        forget_details(self._whole, doomed)
        for one, gone in reversed(doomed):
            if gone:
                self._let_go(one, [row["id"] for row in gone], found)
                self._delete(one, gone)

    def _let_go(self, entity: Entity, gone: Ids, doomed: Container[tuple[str, int]]) -> None:
        """Empty the references of records that stay, with a history of their own."""
        for referrer in referrers(self._whole, entity.name):
            if referrer.lets_go:
                name, field = referrer.entity.name, referrer.field.name
                rows = self._locked(name, field, gone, deleting=False)
                staying = [row["id"] for row in rows if (name, row["id"]) not in doomed]
                self.unrestricted().update_many(name, [(one, {field: None}) for one in staying])

    def _delete(self, entity: Entity, rows: Records) -> None:
        ids = [row["id"] for row in rows]
        self._execute(f'DELETE FROM "{entity.name}" WHERE id = ANY(:ids)', ids=ids)
        changes = [
            (row | {"row_version": row["row_version"] + 1}, deleted_fields(entity, row))
            for row in rows
        ]
        self._write_history(entity, changes, "delete")

    def undelete_many(self, entity: str, ids: Sequence[int]) -> None:
        """Put deleted records back as they were, under the same ids, with their details.

        For who may delete them. Refused: 404 ids that were not deleted, 409 or 422 when they no
        longer fit to the rest.
        """
        declared, seen = self._guard.demand(entity, "delete")
        asked = list(dict.fromkeys(ids))
        last = self._query(LAST_CHANGES, entity=entity, ids=possible_ids(asked))
        gone = {row["record_id"]: row for row in last if row["action"] == "delete"}
        missing = [record_id for record_id in asked if record_id not in gone]
        if missing:
            raise not_deleted(declared, missing)
        with self.savepoint():
            self._restore(declared, [gone[record_id] for record_id in asked])
            visible = self._locked(entity, "id", asked, self.row_conditions(entity))
            if len(visible) < len(asked):
                shown = {row["id"] for row in visible}
                raise not_deleted(seen, [one for one in asked if one not in shown])
            self._guard.demand_rows(seen, asked, "delete")

    def _restore(self, entity: Entity, changes: Records) -> None:
        rows, problems = restored_rows(entity, changes, now=self.now)
        if problems:
            raise Refused(self._guard.told(problems, entity.name, rows))
        if not rows:
            return
        self._run_check(entity.name, rows, [None] * len(rows), ruled=False)
        seen = self._guard.sight(entity.name)
        self._copy(entity, seen, rows, range(1, len(rows) + 1), "undelete")
        moments = list({change["at"] for change in changes})
        owners = [row["id"] for row in rows]
        for referrer in referrers(self._whole, entity.name):
            if referrer.details:
                parts = self._query(deleted_with(referrer), moments=moments, owners=owners)
                ids = [part["record_id"] for part in parts]
                last = self._query(LAST_CHANGES, entity=referrer.entity.name, ids=ids)
                self._restore(referrer.entity, [one for one in last if one["action"] == "delete"])

    def _locked_rows(self, entity: Entity, ids: Sequence[int], operation: Operation) -> Records:
        """The records of the ids in that order, locked against other writers.

        Refused: 404 what the actor does not see, 403 what he may only read.
        """
        visible = self.row_conditions(entity.name)
        deleting = operation == "delete"
        rows = self._locked(entity.name, "id", possible_ids(ids), visible, deleting=deleting)
        found: dict[int, Record] = {cast("int", row["id"]): row for row in rows}
        if len(found) < len(set(ids)):
            raise unknown_records(entity, ids, found)
        self._guard.demand_rows(entity, ids, operation)
        return [found[record_id] for record_id in ids]

    def _locked(
        self,
        entity: str,
        field: str,
        values: Iterable[object],
        conditions: Sequence[ColumnElement[bool]] = (),
        *,
        deleting: bool = True,
    ) -> Records:
        """The records whose field has one of the values, by id, locked against other writers;
        unless they are to be deleted, others may go on to refer to them."""
        table = self._tables.tables[entity]
        wanted = any_(literal(list(values), ARRAY(table.c[field].type)))
        statement = select(table).where(table.c[field] == wanted, *conditions).order_by(table.c.id)
        with refusing(self._whole, self.catalogue):
            statement = statement.with_for_update(key_share=not deleting)
            rows = self._connection.execute(statement).mappings()
            return [dict(row) for row in rows]

    def _run_check(
        self, entity: str, records: Records, old_rows: OldRows, *, ruled: bool = True
    ) -> None:
        check, rules = self._checks.get(entity), self._rules if ruled else None
        declared, whole = self._whole.entity(entity), self.unrestricted()
        problems = rules.fill(whole, declared, records, old_rows) if rules else []
        if check and not problems:
            problems = check(whole, records, old_rows)
        if rules and not problems:
            problems = rules.check(whole, declared, records, old_rows)
        if problems:
            raise Refused(self._guard.told(problems, entity, [*records, *old_rows]))

    def _follow(self, entity: Entity, rows: Records, old_rows: OldRows) -> None:
        with self._guard.discreet():
            if self._rules is not None:
                self._rules.follow(self.unrestricted(), entity, rows, old_rows)

    def _write_history(self, entity: Entity, changes: Sequence[Change], action: str) -> None:
        write_history(
            self._driver,
            entity,
            changes,
            now=self.now,
            actor=self.actor,
            source=self.source,
            request_id=self.request_id,
            catalogue_version=self._whole.version,
            action=action,
        )

    # -- bulk --------------------------------------------------------------------------------

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
