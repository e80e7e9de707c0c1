"""The history of changes, as far as an actor may see the records and the fields."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ARRAY, ColumnElement, Text, and_, func, literal, or_, select

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Entity, Record
from counterfoil.platform.records.pages import LONGEST_PAGE, Page
from counterfoil.platform.records.statements import Statements


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """Which changes are asked for; what is None may be anything.

    ``since`` is included and ``until`` not. ``before`` is the cursor of the page before.
    """

    entity: str | None = None
    record_id: int | None = None
    actor: str | None = None
    source: str | None = None
    action: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: str | None = None
    limit: int = 50


class History(Statements):
    """What a unit of work tells of changes."""

    def history(self, asked: HistoryQuery) -> Page:
        """One page of changes, the newest first.

        Of what the actor may not read nothing is told: an update of such fields alone is not
        there. What was deleted is told where no row filter would hide it.
        """
        if not 1 <= asked.limit <= LONGEST_PAGE:
            raise Refused(Problem("bad_limit", f"must be from 1 to {LONGEST_PAGE}", "limit"))
        if asked.entity is None:
            entities: Sequence[Entity] = tuple(self.catalogue.entities.values())
        else:
            entities = (self.catalogue.entity(asked.entity),)
        change = self._tables.tables["record_change"]
        statement = (
            select(
                *(column for column in change.columns if column.name != "transaction_id"),
            )
            .where(*self._asked(asked))
            .order_by(change.c.id.desc())
            .limit(asked.limit + 1)
        )
        if not (self.access.unrestricted and asked.entity is None):
            statement = statement.where(or_(*(self._visible(entity) for entity in entities)))
        rows = [dict(row) for row in self._connection.execute(statement).mappings()]
        shown = [self._told(row) for row in rows[: asked.limit]]
        cursor = str(shown[-1]["id"]) if len(rows) > asked.limit else None
        return Page(shown, cursor)

    def _asked(self, asked: HistoryQuery) -> list[ColumnElement[bool]]:
        change = self._tables.tables["record_change"].c
        names = ("record_id", "actor", "source", "action", "request_id")
        conditions: list[ColumnElement[bool]] = [
            change[name] == getattr(asked, name)
            for name in names
            if getattr(asked, name) is not None
        ]
        if asked.since is not None:
            conditions.append(change["at"] >= asked.since)
        if asked.until is not None:
            conditions.append(change["at"] < asked.until)
        if asked.before is not None:
            conditions.append(change["id"] < _position(asked.before))
        return conditions

    def _visible(self, entity: Entity) -> ColumnElement[bool]:
        """The changes of an entity's records that the actor may see something of."""
        change = self._tables.tables["record_change"].c
        conditions = [change.entity == entity.name]
        if not self.access.unrestricted:
            names = literal([field.name for field in entity.fields], ARRAY(Text()))
            told = func.jsonb_exists_any(change.changes, names)
            conditions.append(or_(change.action != "update", told))
        rows = self._guard.conditions(entity.name)
        if rows:
            table = self._tables.tables[entity.name]
            conditions.append(change.record_id.in_(select(table.c.id).where(*rows)))
        return and_(*conditions)

    def _told(self, row: Record) -> Record:
        if self.access.unrestricted:
            return row
        seen = {field.name for field in self.catalogue.entity(row["entity"]).fields}
        changes = {name: both for name, both in row["changes"].items() if name in seen}
        return {**row, "changes": changes}


def _position(cursor: str) -> int:
    if cursor.isascii() and cursor.isdigit() and len(cursor) <= 18:
        return int(cursor)
    raise Refused(Problem("bad_cursor", "is not a cursor of this list", "cursor"), status=400)
