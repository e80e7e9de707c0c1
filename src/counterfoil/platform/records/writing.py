"""Writing of checked records: the rows, and in one further COPY their history."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import psycopg
import pyarrow as pa

from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Entity, Field, FieldType, Record
from counterfoil.platform.metadata.validation import RecordChecker, half_amounts
from counterfoil.platform.records.arrow_copy import copy_table
from counterfoil.platform.records.exact_json import encode_json

_SQL_TYPES: dict[FieldType, str] = {
    FieldType.TEXT: "text",
    FieldType.INTEGER: "bigint",
    FieldType.DECIMAL: "numeric",
    FieldType.BOOLEAN: "boolean",
    FieldType.DATE: "date",
    FieldType.INSTANT: "timestamptz",
    FieldType.CHOICE: "text",
    FieldType.REFERENCE: "bigint",
    FieldType.DOCUMENT: "jsonb",
    FieldType.MULTI_CHOICE: "text[]",
}


def sql_type_of(field: Field) -> str:
    """How PostgreSQL reads the field's values out of JSON."""
    return _SQL_TYPES[field.type]


def check_new_rows(
    entity: Entity,
    rows: Sequence[Record],
    *,
    by_command: bool,
    numbered: bool,
    seen: Entity | None = None,
) -> tuple[list[Record], list[Problem]]:
    """The typed values of all new rows; with ``numbered`` problems tell the row, from 1.

    ``seen`` is the entity as the writer sees it.
    """
    checker = RecordChecker(entity, by_command=by_command, seen=seen)
    records: list[Record] = []
    problems: list[Problem] = []
    for position, row in enumerate(rows, start=1):
        record, found = checker.check(row, line=position if numbered else None)
        records.append(record)
        problems.extend(found or half_amounts(entity, record, position if numbered else None))
    return records, problems


def merge_changes(
    entity: Entity,
    old_rows: Sequence[Record],
    changes: Sequence[Record],
    *,
    by_command: bool,
    seen: Entity | None = None,
) -> tuple[list[Record], list[Problem]]:
    """The full new rows: the old ones with their checked changes."""
    checker = RecordChecker(entity, by_command=by_command, seen=seen)
    merged: list[Record] = []
    problems: list[Problem] = []
    for position, (old, change) in enumerate(zip(old_rows, changes, strict=True), start=1):
        clean, found = checker.check(
            change, partial=True, line=position if len(changes) > 1 else None
        )
        merged.append(old | clean)
        line = position if len(changes) > 1 else None
        problems.extend(found or half_amounts(entity, merged[-1], line))
    return merged, problems


def changed_fields(entity: Entity, old: Record | None, new: Record) -> dict[str, list[object]]:
    """Field to [old, new] for every declared field that differs."""
    before: Record = old or {}
    return {
        field.name: [before.get(field.name), new[field.name]]
        for field in entity.stored
        if before.get(field.name) != new[field.name]
    }


def update_statement(entity: Entity, fields: Sequence[str]) -> str:
    """One UPDATE of many rows, given as one JSON list of objects in parameter ``rows``."""
    kinds = {field.name: _SQL_TYPES[field.type] for field in entity.stored}
    columns = "".join(f', "{name}" {kinds[name]}' for name in fields)
    sets = "".join(f', "{name}" = change."{name}"' for name in fields)
    return (
        f'UPDATE "{entity.name}" AS record'
        f" SET updated_at = change.updated_at, row_version = change.row_version{sets}"
        " FROM jsonb_to_recordset(CAST(:rows AS jsonb))"
        f" AS change(id bigint, updated_at timestamptz, row_version bigint{columns})"
        " WHERE record.id = change.id"
    )


_HIDDEN: list[object] = ["secret", "secret"]


def _hidden(
    fields: Mapping[str, object], secrets: Mapping[str, list[object]]
) -> dict[str, list[object]]:
    return {name: secrets[name] for name in secrets.keys() & fields.keys()}


def write_history(
    connection: psycopg.Connection[object],
    entity: Entity,
    changes: Sequence[tuple[Record, dict[str, list[object]]]],
    *,
    now: datetime,
    actor: str,
    source: str,
    request_id: str | None,
    catalogue_version: int,
    action: str,
) -> None:
    """One row of history per changed record, in one COPY; of a secret only that it changed."""
    count = len(changes)
    secrets = {field.name: _HIDDEN for field in entity.fields if field.secret}
    instants = pa.timestamp("us", "UTC")
    table = pa.table(
        {
            "at": pa.repeat(pa.scalar(now, instants), count),
            "actor": pa.repeat(pa.scalar(actor), count),
            "source": pa.repeat(pa.scalar(source), count),
            "request_id": pa.array([request_id] * count, pa.string()),
            "catalogue_version": pa.repeat(pa.scalar(catalogue_version, pa.int64()), count),
            "entity": pa.repeat(pa.scalar(entity.name), count),
            "record_id": pa.array([record["id"] for record, _ in changes], pa.int64()),
            "action": pa.repeat(pa.scalar(action), count),
            "row_version": pa.array([record["row_version"] for record, _ in changes], pa.int64()),
            "changes": pa.array(
                [encode_json(fields | _hidden(fields, secrets)) for _, fields in changes],
                pa.string(),
            ),
        }
    )
    copy_table(connection, "record_change", table)
