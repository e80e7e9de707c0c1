"""Reading records: one, the first that fits, a page of those that fit; all within the access."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, FromClause, Select, any_, literal, select
from sqlglot import exp

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Entity, Record
from counterfoil.platform.metadata.access import Condition, Operation
from counterfoil.platform.metadata.validation import BIGINT_MAX
from counterfoil.platform.records.columns import field_column
from counterfoil.platform.records.including import Included, include_tree, refuse_too_many
from counterfoil.platform.records.pages import Filter, Page, plan_listing, shown_columns
from counterfoil.platform.records.paths import Paths
from counterfoil.platform.records.querying import Grouping, Query, plan_grouping, plan_query
from counterfoil.platform.records.row_filters import check_conditions
from counterfoil.platform.records.selecting import Selected, check_statement, run_statement
from counterfoil.platform.records.statements import Ids, Records, Statements


class Reading(Statements):
    """What a unit of work reads of records."""

    def row_conditions(
        self, entity: str, operation: Operation = "read"
    ) -> list[ColumnElement[bool]]:
        """What a record has to meet so that the actor may do this with it; empty for all.

        Every statement that reads an entity's table for the actor has these in its WHERE.
        """
        return self._guard.conditions(entity, operation)

    def row_filter_problems(self, entity: str, conditions: Sequence[Condition]) -> list[Problem]:
        """What is wrong with the conditions of a row filter, before it is saved."""
        declared = self._whole.entity(entity)
        return check_conditions(self._whole, self._tables, declared, conditions)

    def get(self, entity: str, record_id: int) -> Record:
        """The record of that id, without its secrets; refuses (404) an unknown one."""
        declared = self.catalogue.entity(entity)
        table = self._table(entity)
        columns = shown_columns(declared, table)
        statement = select(*columns).where(
            table.c.id.in_(possible_ids([record_id])), *self.row_conditions(entity)
        )
        row = self._connection.execute(statement).mappings().first()
        if row is None:
            raise unknown_records(declared, [record_id], ())
        return dict(row)

    def find(self, entity: str, /, **equals: object) -> Record | None:
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
        known = {one.name: one for one in declared.readable}
        if field not in known:
            message = f"{entity} has no such field"
            raise Refused(Problem("unknown_field", message, field, allowed=tuple(known)))
        wanted = list(dict.fromkeys(values))
        if not wanted:
            return {}
        column = field_column(table, known[field])
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

    def select(self, statement: exp.Select) -> Selected:
        """The rows of someone's own SELECT over entities, as far as the actor may see them.

        Refuses (400) what is not possible in it, naming it.
        """
        check_statement(statement, self.catalogue)
        return run_statement(self._connection, self.catalogue, statement, self._seen_rows)

    def _seen_rows(self, entity: str) -> Select[Any]:
        columns = shown_columns(self.catalogue.entity(entity), self._table(entity))
        return select(*columns).where(*self.row_conditions(entity))

    def query_records(self, entity: str, query: Query, include: Sequence[str] = ()) -> Page:
        """One keyset page of records with fields of related ones by path, in one statement.

        ``include`` names related records to be put into each record: one that it refers to
        (``account``, ``account.parent``) or those that refer to it (``sites``, ``sites.contacts``);
        one further statement each. Refuses (422) unknown fields, paths and operators.
        """
        seen = self.catalogue.entity(entity)
        tree = include_tree(self.catalogue, seen, include)
        needed = tuple(part.relation.own_field for part in tree)
        fields = query.fields or tuple(field.name for field in seen.readable)
        extra = tuple(dict.fromkeys(name for name in needed if name not in fields))
        paths = Paths(self.catalogue, seen, self._rows_of)
        plan = plan_query(paths, replace(query, fields=(*fields, *extra)))
        page = plan.page(self._connection.execute(plan.statement).all())
        self._include(page.records, tree)
        for record in page.records:
            for name in extra:
                del record[name]
        return page

    def _include(self, records: Sequence[Record], tree: Sequence[Included]) -> Sequence[int]:
        """Put related records into the records; how many each of them is now."""
        sizes = [1] * len(records)
        for part in tree:
            relation = part.relation
            owners = {record[relation.own_field] for record in records} - {None}
            rows: Records = []
            if owners:
                statement = relation.statement(self._rows_of(relation.entity.name), owners)
                rows = [dict(row) for row in self._connection.execute(statement).mappings()]
            refuse_too_many(len(rows))
            got = relation.attach(records, rows, self._include(rows, part.parts))
            sizes = [size + more for size, more in zip(sizes, got, strict=True)]
            refuse_too_many(sum(sizes) - len(records))
        return sizes

    def aggregate(self, entity: str, grouping: Grouping) -> Records:
        """Aggregates of the records that the reader sees, exact, in one statement.

        Refuses (422) unknown fields and functions that a field does not have.
        """
        paths = Paths(self.catalogue, self.catalogue.entity(entity), self._rows_of)
        statement, names = plan_grouping(paths, grouping)
        rows = self._connection.execute(statement).all()
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _rows_of(self, entity: str) -> FromClause:
        return self._seen_rows(entity).subquery()


def possible_ids(ids: Sequence[int]) -> Ids:
    """The ids that a record can have at all; others would not fit into the column."""
    return [record_id for record_id in ids if 0 < record_id <= BIGINT_MAX]


def unknown_records(entity: Entity, ids: Sequence[int], known: Container[int]) -> Refused:
    """The refusal (404) of the ids that are not known; of many, a problem tells the line."""
    noun = entity.label or entity.name.replace("_", " ")
    problems = [
        Problem(
            "unknown_record",
            f"there is no {noun} {record_id}",
            "id",
            line=line if len(ids) > 1 else None,
        )
        for line, record_id in enumerate(ids, start=1)
        if record_id not in known
    ]
    return Refused(problems, status=404)


def refuse_other_versions(rows: Sequence[Record], expected: Mapping[int, int]) -> None:
    """Refuse (409) records that are no longer of the version that was expected of them."""
    problems = [
        Problem(
            "version_conflict",
            f"has changed meanwhile: its version is {row['row_version']}",
            "row_version",
            line=line if len(rows) > 1 else None,
        )
        for line, row in enumerate(rows, start=1)
        if expected.get(row["id"], row["row_version"]) != row["row_version"]
    ]
    if problems:
        raise Refused(problems, status=409)
