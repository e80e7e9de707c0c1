"""Create or change by a unique field: which rows are new, and what the others change."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Entity, Field, Record
from counterfoil.platform.metadata.validation import RecordChecker, half_amounts, read_value


@dataclass(frozen=True, slots=True)
class Upserted:
    """What became of one row: the id of its record, and what was done."""

    id: int
    action: Literal["created", "updated", "unchanged"]


def key_field(entity: Entity, name: str) -> Field:
    """The unique field by which records are told apart; refuses others, naming the unique ones."""
    field = entity.field(name)
    if field is None or not field.unique or field.secret:
        allowed = tuple(one.name for one in entity.fields if one.unique and not one.secret)
        message = f"is no unique field of {entity.name}"
        raise Refused(Problem("not_a_key", message, name, allowed=allowed))
    return field


def read_keys(key: Field, rows: Sequence[Record]) -> tuple[list[object], list[Problem]]:
    """The key of every row as its record would hold it; rows without one of their own."""
    keys: list[object] = []
    problems: list[Problem] = []
    seen: dict[object, int] = {}
    for line, row in enumerate(rows, start=1):
        value = row.get(key.name)
        wrong = None
        try:
            read = None if value in (None, "") else read_value(key, value)
        except ValueError as error:
            read, wrong = None, Problem("wrong_type", str(error), key.name, line=line)
        if wrong is None and read is None:
            wrong = Problem(
                "required", "is required: it tells which record is meant", key.name, line=line
            )
        elif read is not None and read in seen:
            message = f"{value} stands in line {seen[read]} already"
            wrong = Problem("double_key", message, key.name, line=line)
        if wrong is not None:
            problems.append(wrong)
        if read is not None:
            seen.setdefault(read, line)
        keys.append(read)
    return keys, problems


def settle_rows(
    entity: Entity,
    seen: Entity,
    rows: Sequence[Record],
    old_rows: Sequence[Record | None],
    *,
    by_command: bool,
) -> tuple[list[Record], list[Problem]]:
    """The checked values of new rows and the full new rows of existing records; all problems.

    ``seen`` is the entity as the writer sees it.
    """
    checker = RecordChecker(entity, by_command=by_command, seen=seen)
    settled: list[Record] = []
    problems: list[Problem] = []
    for position, (row, old) in enumerate(zip(rows, old_rows, strict=True), start=1):
        line = position if len(rows) > 1 else None
        if old is None:
            values, wrong = checker.check(row, line=line)
        else:
            changes, wrong = checker.check(_changes(seen, row, old), partial=True, line=line)
            values = old | changes
        settled.append(values)
        problems += wrong or half_amounts(entity, values, line)
    return settled, problems


def _changes(seen: Entity, row: Record, old: Record) -> Record:
    """The row without the fields that never change, where it says what they are anyway."""
    stated = {
        field.name
        for field in seen.fields
        if field.immutable and field.name in row and _says(field, row[field.name], old)
    }
    return {name: value for name, value in row.items() if name not in stated}


def _says(field: Field, value: object, old: Record) -> bool:
    if value is None:
        return old[field.name] is None
    try:
        return bool(read_value(field, value) == old[field.name])
    except ValueError:
        return False


def describe_upserts(
    new_rows: Sequence[Record], old_rows: Sequence[Record | None], changed: Container[int]
) -> list[Upserted]:
    """What became of every row, in order; ``changed`` are the ids of records that differ now."""
    upserts: list[Upserted] = []
    for new, old in zip(new_rows, old_rows, strict=True):
        kept: Literal["updated", "unchanged"] = "updated" if new["id"] in changed else "unchanged"
        upserts.append(Upserted(new["id"], "created" if old is None else kept))
    return upserts
