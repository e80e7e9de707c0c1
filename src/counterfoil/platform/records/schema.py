"""From declarations to tables: what PostgreSQL keeps for a catalogue.

Every name of a constraint or index follows from the declaration, so that an error of the
database can be told in the declaration's words and a migration can find what it changes.
"""

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
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
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
}


def _entity_table(tables: MetaData, entity: Entity) -> Table:
    name = entity.name
    items: list[SchemaItem] = [
        Column("id", BigInteger, Identity(always=False), nullable=False),
        *(Column(field.name, column_type(field), nullable=False) for field in HEADER[1:]),
        PrimaryKeyConstraint("id", name=f"pk_{name}"),
    ]
    for field in entity.fields:
        items.append(_column(name, field))
        items.extend(_checks(name, field))
        if field.unique:
            items.append(UniqueConstraint(field.name, name=f"uq_{name}_{field.name}"))
        elif field.indexed:
            items.append(Index(f"ix_{name}_{field.name}", field.name))
    items.extend(
        UniqueConstraint(*fields, name=short_name(f"uq_{name}", fields)) for fields in entity.unique
    )
    items.extend(Index(short_name(f"ix_{name}", fields), *fields) for fields in entity.indexes)
    return Table(name, tables, *items)


def short_name(start: str, fields: tuple[str, ...]) -> str:
    """A constraint's name from its fields; PostgreSQL keeps 63 bytes of a name."""
    whole = "_".join((start, *fields))
    if len(whole) <= 63:
        return whole
    initials = ("".join(word[0] for word in field.split("_")) for field in fields)
    return "_".join((start, *initials))[:63]


def _column(table: str, field: Field) -> Column[object]:
    nullable = not field.required
    if field.type is not FieldType.REFERENCE:
        return Column(field.name, column_type(field), nullable=nullable)
    on_delete = "CASCADE" if field.on_delete == "cascade" else None
    target = ForeignKey(f"{field.target}.id", name=f"fk_{table}_{field.name}", ondelete=on_delete)
    return Column(field.name, column_type(field), target, nullable=nullable)


def _checks(table: str, field: Field) -> list[CheckConstraint]:
    name = f"ck_{table}_{field.name}"
    conditions: list[str] = []
    if field.type is FieldType.CHOICE:
        words = ", ".join("'" + choice.replace("'", "''") + "'" for choice in field.choices)
        conditions.append(f"{field.name} IN ({words})")
    if field.minimum is not None:
        conditions.append(f"{field.name} >= {field.minimum}")
    if field.maximum is not None:
        conditions.append(f"{field.name} <= {field.maximum}")
    return [CheckConstraint(" AND ".join(conditions), name=name)] if conditions else []


def _system_tables(tables: MetaData) -> None:
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
        Column("changes", JSONB, nullable=False),
        PrimaryKeyConstraint("id", name="pk_record_change"),
        CheckConstraint(
            "action IN ('create', 'update', 'delete', 'undelete')", name="ck_record_change_action"
        ),
        Index("ix_record_change_entity_record_id", "entity", "record_id"),
    )
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
        Column("created_at", DateTime(timezone=True), nullable=False),
        PrimaryKeyConstraint("key", name="pk_idempotent_answer"),
    )
