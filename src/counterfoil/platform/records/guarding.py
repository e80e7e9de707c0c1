"""The guard of a unit of work: holds what is read and written against the actor's access."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, MetaData, func, select

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Access, Catalogue, Entity, Record
from counterfoil.platform.metadata.access import Operation, seen_catalogue
from counterfoil.platform.metadata.validation import BIGINT_MAX
from counterfoil.platform.records.refusals import BUSY, TRY_AGAIN
from counterfoil.platform.records.row_filters import (
    given_references,
    row_conditions,
    told_problems,
    unseen_references,
)


class Guard:
    """What an actor may do in one transaction; ``whole`` is the catalogue, ``seen`` his view."""

    def __init__(
        self, connection: Connection, access: Access, whole: Catalogue, tables: MetaData
    ) -> None:
        self.access = access
        self.whole = whole
        self.seen = seen_catalogue(access, whole)
        self._connection = connection
        self._tables = tables

    def conditions(self, entity: str, operation: Operation = "read") -> list[ColumnElement[bool]]:
        """What a record has to meet so that the actor may do this with it; empty for all."""
        return row_conditions(self.access, self.whole, self._tables, entity, operation)

    def demand(
        self, entity: str, operation: Operation, *, by_command: bool = False
    ) -> tuple[Entity, Entity]:
        """The entity as declared and as the actor sees it.

        Refused: 404 an entity that he does not see, 403 what he has no grant for.
        """
        seen = self.seen.entity(entity)
        self.access.demand(seen, operation)
        if by_command and not self.access.unrestricted:
            raise RuntimeError("commands write with unrestricted()")
        return self.whole.entity(entity), seen

    def demand_rows(self, entity: Entity, ids: Sequence[int], operation: Operation) -> None:
        """Refuse (403) records outside the rows of the operation."""
        conditions = self.conditions(entity.name, operation)
        if not conditions or not ids:
            return
        table = self._tables.tables[entity.name]
        statement = select(func.count()).where(table.c.id.in_(ids), *conditions)
        if self._connection.execute(statement).scalar_one() < len(ids):
            noun = entity.label or entity.name.replace("_", " ")
            message = f"your roles do not let you {operation} such a {noun}"
            raise Refused(Problem("not_granted", message), status=403)

    @contextmanager
    def within_rows(
        self, entity: Entity, ids: Sequence[int], operation: Operation
    ) -> Iterator[None]:
        """Undo what is written within when it is not, or no longer, in the actor's row filter."""
        if not (self.conditions(entity.name, operation) or self.conditions(entity.name)):
            yield
            return
        with self._connection.begin_nested():
            yield
            self.demand_rows(entity, ids, operation)
            self.demand_rows(entity, ids, "read")

    def unseen_references(
        self, entity: Entity, values: Sequence[Record], old_rows: Sequence[Record] = ()
    ) -> list[Problem]:
        """References to records that the actor does not see: as if they were not there.

        One that stays as it is in the old rows is none that he makes.
        """
        if old_rows:
            values = [
                {name: value for name, value in change.items() if value != old.get(name)}
                for old, change in zip(old_rows, values, strict=True)
            ]
        problems: list[Problem] = []
        for field, ids in given_references(self.access, entity, values):
            table = self._tables.tables[field.target]
            possible = [one for one in ids if 0 < one <= BIGINT_MAX]
            statement = select(table.c.id).where(
                table.c.id.in_(possible), *self.conditions(field.target)
            )
            visible = set(self._connection.execute(statement).scalars())
            problems.extend(unseen_references(field, ids - visible, values))
        return problems

    def told(
        self, problems: list[Problem], entity: str, rows: Sequence[Record | None]
    ) -> list[Problem]:
        """What a room's rule has found, without what the actor may not see."""
        if not problems or self.access.unrestricted:
            return problems
        given = [row for row in rows if row is not None]
        return told_problems(problems, self.whole.entity(entity), self.sight(entity), given)

    @contextmanager
    def discreet(self) -> Iterator[None]:
        """Within it is done what follows from a write, with every right.

        Why that is refused may hold what the actor may not see; only that it is refused is told.
        """
        try:
            yield
        except Refused as refused:
            open_codes = (TRY_AGAIN, BUSY, "rules_too_deep")
            if self.access.unrestricted or refused.problems[0].code in open_codes:
                raise
            message = "what a rule does because of this is refused"
            raise Refused(Problem("refused_by_rule", message), refused.status) from None

    def sight(self, entity: str) -> Entity:
        """The entity as the actor sees it, of which there may be nothing to see: then no field."""
        declared = self.whole.entity(entity)
        return self.seen.entities.get(entity) or replace(declared, fields=(), unique=(), indexes=())
