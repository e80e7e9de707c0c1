"""The SQL of a change set: what PostgreSQL is told, and how long others may have to wait for it.

New columns are empty, so nothing of a table is written anew, and constraints are NOT VALID: they
hold for whatever is written from now on. An index has the whole table read: it is made afterwards,
while others work, but for that of a unique field, which has to be there first.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import CheckConstraint, Column, Constraint, Index, MetaData, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable, DDLElement

from counterfoil.platform.metadata.changes import Action, ModelChange, Step
from counterfoil.platform.metadata.customer import fields_of
from counterfoil.platform.metadata.entity import Field
from counterfoil.platform.records.schema import build_tables, column_type, hashed_name
from counterfoil.platform.records.unit_of_work import UnitOfWork

PATIENCE_MS = 400
"""How long the locks of tables to be changed may take, and as long those of tables they point to.
Who waits for such a table waits no longer, and PostgreSQL looks for deadlocks after 1000 ms only:
so nobody is killed."""

_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """Statements for one transaction, and the tables that it alters or points to.

    ``afterwards`` are indexes of tables that there were: made without keeping others waiting,
    outside of a transaction.
    """

    statements: tuple[str, ...]
    altered: tuple[str, ...]
    pointed_to: tuple[str, ...]
    afterwards: tuple[str, ...] = ()


def schema_change(change: ModelChange) -> SchemaChange:
    """What the steps of a change set mean for PostgreSQL."""
    tables = build_tables(change.after)
    new = [
        step.entity
        for step in change.steps
        if step.action is Action.ADD and not (step.field or step.rule)
    ]
    statements: list[str] = []
    references: list[str] = []
    afterwards: list[str] = []
    altered: set[str] = set()
    targets: set[str] = set()
    for name in new:
        table = tables.tables[name]
        statements.append(_sql(CreateTable(table, include_foreign_key_constraints=[])))
        statements += [_sql(CreateIndex(index)) for index in _sorted(table)]
        references += [_sql(AddConstraint(key)) for key in table.foreign_key_constraints]
        targets |= {key.referred_table.name for key in table.foreign_key_constraints}
    for step in change.steps:
        if not step.field or step.entity in new:
            continue
        found = list(_field_sql(step, change, tables))
        statements += found
        altered |= {step.entity} if found else set()
        targets |= _targets(step, change, tables) if found else set()
        afterwards += _late_indexes(step, change, tables)
    targets -= {*altered, *new}
    return SchemaChange(
        (*statements, *references),
        tuple(sorted(altered)),
        tuple(sorted(targets)),
        tuple(afterwards),
    )


def change_schema(uow: UnitOfWork, change: SchemaChange) -> None:
    """Run the statements; refused (503, ``busy``) when the tables are not free soon enough."""
    uow.define(f"SET LOCAL lock_timeout = '{PATIENCE_MS}ms'")
    uow.define(f"SET LOCAL statement_timeout = '{PATIENCE_MS}ms'")
    for tables, mode in (
        (change.altered, "ACCESS EXCLUSIVE"),
        (change.pointed_to, "SHARE ROW EXCLUSIVE"),
    ):
        if tables:
            uow.define(f"LOCK TABLE {', '.join(map(_quoted, tables))} IN {mode} MODE")
    uow.define("SET LOCAL statement_timeout = 0")
    for statement in change.statements:
        uow.define(statement)
    uow.define("SET LOCAL lock_timeout = 0")


def unfinished_indexes(uow: UnitOfWork) -> list[str]:
    """Statements, each to be run alone, for the custom fields' indexes that are not there.

    Whoever was to make them may have been killed; PostgreSQL keeps what it had begun as invalid.
    """
    tables = build_tables(uow.catalogue)
    wanted = {
        str(index.name): index
        for entity in uow.catalogue.entities.values()
        for field in entity.stored
        if field.custom and field.indexed
        for index in _indexes(tables.tables[entity.name], field)
    }
    rows = uow.query(
        "SELECT name.relname AS name, index.indisvalid AS valid FROM pg_index AS index"
        " JOIN pg_class AS name ON name.oid = index.indexrelid"
        " WHERE name.relname = ANY(:names) AND pg_table_is_visible(index.indrelid)",
        names=list(wanted),
    )
    broken = [str(row["name"]) for row in rows if not row["valid"]]
    missing = [*broken, *sorted(wanted.keys() - {str(row["name"]) for row in rows})]
    return [
        *(f"DROP INDEX CONCURRENTLY {_quoted(name)}" for name in broken),
        *(_concurrently(wanted[name]) for name in missing),
    ]


def count_version(uow: UnitOfWork) -> int:
    """The next version of the catalogue; the others see it when the transaction has ended."""
    rows = uow.query(
        "INSERT INTO catalogue_version (id, version) VALUES (1, 1)"
        " ON CONFLICT (id) DO UPDATE SET version = catalogue_version.version + 1"
        " RETURNING version"
    )
    return int(str(rows[0]["version"]))


def _field_sql(step: Step, change: ModelChange, tables: MetaData) -> Iterator[str]:
    custom = change.after.customer.field(step.entity, step.field)
    if custom is None or custom.retired or step.entity not in tables.tables:
        return
    table = tables.tables[step.entity]
    for field in (field for field in fields_of(custom) if field.stored):
        if step.action is Action.ADD:
            yield from _added(table, field)
        elif step.action is Action.CHANGE:
            yield from _widened(table, field, step)


def _added(table: Table, field: Field) -> Iterator[str]:
    kind = column_type(field).compile(dialect=_DIALECT)
    yield f"ALTER TABLE {_quoted(table.name)} ADD COLUMN {_quoted(field.name)} {kind}"
    for constraint in _constraints(table, field):
        yield f"{_sql(AddConstraint(constraint))} NOT VALID"
    yield from (_sql(CreateIndex(index)) for index in _indexes(table, field) if index.unique)


def _widened(table: Table, field: Field, step: Step) -> Iterator[str]:
    start = f"ALTER TABLE {_quoted(table.name)}"
    if {"choices", "minimum", "maximum"} & set(step.changed):
        name = hashed_name("ck", table.name, field.name)
        yield f"{start} DROP CONSTRAINT IF EXISTS {_quoted(name)}"
        for constraint in _constraints(table, field):
            if isinstance(constraint, CheckConstraint):
                yield f"{_sql(AddConstraint(constraint))} NOT VALID"
    if "digits" in step.changed:
        kind = column_type(field).compile(dialect=_DIALECT)
        yield f"{start} ALTER COLUMN {_quoted(field.name)} TYPE {kind}"


def _late_indexes(step: Step, change: ModelChange, tables: MetaData) -> Iterator[str]:
    custom = change.after.customer.field(step.entity, step.field)
    if custom is None or custom.retired or step.entity not in tables.tables:
        return
    new = step.action is Action.ADD
    fields = fields_of(custom) if new or "indexed" in step.changed else ()
    for field in (field for field in fields if field.stored):
        for index in _indexes(tables.tables[step.entity], field):
            if not (new and index.unique):
                yield _concurrently(index)


def _concurrently(index: Index) -> str:
    return _sql(CreateIndex(index)).replace("INDEX ", "INDEX CONCURRENTLY IF NOT EXISTS ", 1)


def _targets(step: Step, change: ModelChange, tables: MetaData) -> set[str]:
    custom = change.after.customer.field(step.entity, step.field)
    fields = fields_of(custom) if custom else ()
    return {field.target for field in fields if field.target and field.target in tables.tables}


def _constraints(table: Table, field: Field) -> list[Constraint]:
    names = {hashed_name(kind, table.name, field.name) for kind in ("ck", "fk")}
    return [one for one in table.constraints if one.name in names]


def _indexes(table: Table, field: Field) -> list[Index]:
    column: Column[object] = table.c[field.name]
    return [index for index in _sorted(table) if list(index.columns) == [column]]


def _sorted(table: Table) -> list[Index]:
    return sorted(table.indexes, key=lambda index: str(index.name))


def _quoted(name: str) -> str:
    return f'"{name}"'


def _sql(element: DDLElement) -> str:
    text = str(element.compile(dialect=_DIALECT)).strip()
    return "\n".join(line.rstrip() for line in text.expandtabs(4).splitlines())
