"""From declarations to tables: what PostgreSQL keeps for a catalogue.

Every name of a constraint or index follows from the declaration, so that an error of the
database can be told in the declaration's words and a migration can find what it changes.
"""

import hashlib
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from counterfoil.platform.metadata import Catalogue, Entity, Field, FieldType
from counterfoil.platform.metadata.entity import HEADER


@lru_cache(maxsize=8)
def build_tables(catalogue: Catalogue) -> MetaData:
    """The tables of all entities, named by the entity, and those records itself needs.

    Kept for the catalogues used last: opening a database shall not build them anew.
    """
    tables = MetaData()
    for entity in catalogue.entities.values():
        _entity_table(tables, entity)
    _system_tables(tables)
    return tables


def column_type(field: Field) -> TypeEngine[Any]:
    """How PostgreSQL keeps a field's values."""
    if field.type is FieldType.DECIMAL:
        return Numeric(field.precision, field.scale)
    return _TYPES[field.type]


_TYPES: dict[FieldType, TypeEngine[Any]] = {
    FieldType.TEXT: Text(),
    FieldType.INTEGER: BigInteger(),
    FieldType.BOOLEAN: Boolean(),
    FieldType.DATE: Date(),
    FieldType.INSTANT: DateTime(timezone=True),
    FieldType.CHOICE: Text(),
    FieldType.REFERENCE: BigInteger(),
    FieldType.DOCUMENT: JSONB(),
    FieldType.MULTI_CHOICE: ARRAY(Text()),
}


def _entity_table(tables: MetaData, entity: Entity) -> Table:
    name = entity.name
    items: list[SchemaItem] = [
        Column("id", BigInteger, Identity(always=False), nullable=False),
        *(Column(field.name, column_type(field), nullable=False) for field in HEADER[1:]),
        PrimaryKeyConstraint("id", name=f"pk_{name}"),
    ]
    for field in entity.stored:
        items.append(_column(name, field))
        items.extend(_checks(name, field))
        if field.custom:
            items.extend(_custom_index(name, field))
        elif field.unique:
            items.append(UniqueConstraint(field.name, name=f"uq_{name}_{field.name}"))
        elif field.indexed:
            items.append(Index(f"ix_{name}_{field.name}", field.name))
    items.extend(
        UniqueConstraint(*fields, name=short_name(f"uq_{name}", fields)) for fields in entity.unique
    )
    items.extend(Index(short_name(f"ix_{name}", fields), *fields) for fields in entity.indexes)
    items.extend(
        Index(f"ix_{name}_{rare.name}", rare.field, postgresql_where=text(rare.condition))
        for rare in entity.rare_indexes
    )
    return Table(name, tables, *items)


def _custom_index(table: str, field: Field) -> list[Index]:
    """Of the values there are, which a new column has none of."""
    if not (field.unique or field.indexed):
        return []
    name = hashed_name("uq" if field.unique else "ix", table, field.name)
    where = text(f"{field.name} IS NOT NULL")
    return [Index(name, field.name, unique=field.unique, postgresql_where=where)]


def hashed_name(kind: str, table: str, field: str) -> str:
    """A constraint's name; where it is longer than PostgreSQL's 63 bytes, its end is a digest."""
    whole = f"{kind}_{table}_{field}"
    if len(whole) <= 63:
        return whole
    return f"{whole[:50]}_{hashlib.sha256(whole.encode()).hexdigest()[:12]}"


def short_name(start: str, fields: tuple[str, ...]) -> str:
    """A constraint's name from its fields; PostgreSQL keeps 63 bytes of a name."""
    whole = "_".join((start, *fields))
    if len(whole) <= 63:
        return whole
    initials = ("".join(word[0] for word in field.split("_")) for field in fields)
    return "_".join((start, *initials))[:63]


def _column(table: str, field: Field) -> Column[object]:
    # An older process does not know the column, so it can never be demanded here.
    nullable = field.custom or not field.required
    if field.type is not FieldType.REFERENCE:
        return Column(field.name, column_type(field), nullable=nullable)
    on_delete = {"cascade": "CASCADE", "set_null": "SET NULL"}.get(field.on_delete)
    name = hashed_name("fk", table, field.name)
    target = ForeignKey(f"{field.target}.id", name=name, ondelete=on_delete)
    return Column(field.name, column_type(field), target, nullable=nullable)


def _checks(table: str, field: Field) -> list[CheckConstraint]:
    name = hashed_name("ck", table, field.name)
    conditions: list[str] = []
    words = ", ".join("'" + choice.replace("'", "''") + "'" for choice in field.choices)
    if field.type is FieldType.CHOICE:
        conditions.append(f"{field.name} IN ({words})")
    if field.type is FieldType.MULTI_CHOICE:
        conditions.append(f"{field.name} <@ ARRAY[{words}]::text[]")
    if field.minimum is not None:
        conditions.append(f"{field.name} >= {field.minimum}")
    if field.maximum is not None:
        conditions.append(f"{field.name} <= {field.maximum}")
    # A colon would be read as the name of a parameter.
    condition = " AND ".join(conditions).replace("::", "\0").replace(":", "\\:")
    return [CheckConstraint(condition.replace("\0", "::"), name=name)] if conditions else []


def _history_tables(tables: MetaData) -> None:
    Table(
        "record_change",
        tables,
        Column("id", BigInteger, Identity(always=False), nullable=False),
        Column("at", DateTime(timezone=True), nullable=False),
        Column("actor", Text, nullable=False),
        Column("source", Text, nullable=False),
        Column("entity", Text, nullable=False),
        Column("record_id", BigInteger, nullable=False),
        Column("action", Text, nullable=False),
        Column("row_version", BigInteger, nullable=False),
        Column("request_id", Text),
        Column("catalogue_version", BigInteger, nullable=False),
        Column(
            "transaction_id",
            BigInteger,
            nullable=False,
            server_default=text("CAST(CAST(pg_current_xact_id() AS text) AS bigint)"),
        ),
        Column("changes", JSONB, nullable=False),
        PrimaryKeyConstraint("id", name="pk_record_change"),
        CheckConstraint(
            "action IN ('create', 'update', 'delete', 'undelete')", name="ck_record_change_action"
        ),
        Index("ix_record_change_entity_record_id", "entity", "record_id"),
    )
    Table(
        "catalogue_version",
        tables,
        Column("id", Integer, nullable=False),
        Column("version", BigInteger, nullable=False),
        PrimaryKeyConstraint("id", name="pk_catalogue_version"),
        CheckConstraint("id = 1", name="ck_catalogue_version_id"),
    )
    Table(
        "history_link",
        tables,
        Column("position", BigInteger, nullable=False, autoincrement=False),
        Column("change_id", BigInteger, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        PrimaryKeyConstraint("position", name="pk_history_link"),
        UniqueConstraint("change_id", name="uq_history_link_change_id"),
    )
    Table(
        "history_seal",
        tables,
        Column("id", BigInteger, Identity(always=False), nullable=False),
        Column("sealed_at", DateTime(timezone=True), nullable=False),
        Column("horizon", BigInteger, nullable=False),
        Column("next_transaction", BigInteger, nullable=False),
        Column("last_id", BigInteger, nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        PrimaryKeyConstraint("id", name="pk_history_seal"),
    )


def _system_tables(tables: MetaData) -> None:
    _history_tables(tables)
    Table(
        "number_series",
        tables,
        Column("name", Text, nullable=False),
        Column("next_number", BigInteger, nullable=False),
        PrimaryKeyConstraint("name", name="pk_number_series"),
    )
    Table(
        "idempotent_answer",
        tables,
        Column("key", Text, nullable=False),
        Column("fingerprint", Text, nullable=False),
        Column("status", Integer, nullable=False),
        Column("body", Text, nullable=False),
        Column("media_type", Text, nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        PrimaryKeyConstraint("key", name="pk_idempotent_answer"),
    )
