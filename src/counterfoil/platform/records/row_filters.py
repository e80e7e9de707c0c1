"""Row filters as SQL, and what follows from them: which records an actor can meet.

Conditions lead through references into other tables; the actor needs no right to read those, for
a row filter is the administrator's.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import ColumnElement, MetaData, and_, false, or_, select

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Access, Catalogue, Entity, Record
from counterfoil.platform.metadata.access import EVERY_ROW, Condition, Operation, Rows
from counterfoil.platform.metadata.entity import Field, FieldType
from counterfoil.platform.records.pages import Filter, field_condition

LONGEST_PATH = 5
"""References that a condition may lead through."""


def row_conditions(
    access: Access, catalogue: Catalogue, tables: MetaData, entity: str, operation: Operation
) -> list[ColumnElement[bool]]:
    """The conditions that a record of an entity has to meet for the operation; none for all.

    ``catalogue`` is the whole one, not what the actor sees of it.
    """
    rows = access.rows(entity, operation)
    if () in rows:
        return []
    try:
        return [rows_condition(catalogue, tables, catalogue.entity(entity), rows)]
    except Refused:
        # A field that the filter needs is gone: then nothing is let through.
        return [false()]


def rows_condition(
    catalogue: Catalogue, tables: MetaData, entity: Entity, rows: Rows
) -> ColumnElement[bool]:
    """Any of the alternatives, each with all of its conditions."""
    alternatives = [
        and_(*(_along(catalogue, tables, entity, one, one.path.split(".")) for one in conditions))
        for conditions in rows
        if conditions
    ]
    return or_(*alternatives) if alternatives else false()


def check_conditions(
    catalogue: Catalogue, tables: MetaData, entity: Entity, conditions: Iterable[Condition]
) -> list[Problem]:
    """What is wrong with the conditions of a row filter, before it is saved."""
    problems: list[Problem] = []
    for condition in conditions:
        try:
            _along(catalogue, tables, entity, condition, condition.path.split("."))
        except Refused as refused:
            problems.extend(refused.problems)
    return problems


def _along(
    catalogue: Catalogue,
    tables: MetaData,
    entity: Entity,
    condition: Condition,
    names: Sequence[str],
) -> ColumnElement[bool]:
    table = tables.tables[entity.name]
    if len(names) == 1:
        return field_condition(entity, table, Filter(names[0], condition.op, condition.value))
    if condition.path.count(".") > LONGEST_PATH:
        message = f"leads through more than {LONGEST_PATH} references"
        raise Refused(Problem("path_too_long", message, condition.path))
    field = entity.field(names[0])
    if field is None or field.secret or field.type is not FieldType.REFERENCE:
        known = tuple(one.name for one in entity.fields if one.type is FieldType.REFERENCE)
        message = f"{entity.name} has no reference {names[0]}"
        raise Refused(Problem("unknown_field", message, condition.path, known))
    target = catalogue.entity(field.target)
    met = _along(catalogue, tables, target, condition, names[1:])
    return table.c[field.name].in_(select(tables.tables[target.name].c.id).where(met))


def given_references(
    access: Access, entity: Entity, values: Sequence[Record]
) -> list[tuple[Field, set[int]]]:
    """The references to entities that the actor does not see all of, and the ids given."""
    given: list[tuple[Field, set[int]]] = []
    for field in entity.fields:
        if field.type is FieldType.REFERENCE and access.rows(field.target, "read") != EVERY_ROW:
            ids = {row[field.name] for row in values if type(row.get(field.name)) is int}
            if ids:
                given.append((field, ids))
    return given


def unseen_references(
    field: Field, unseen: set[int], values: Sequence[Record]
) -> Iterator[Problem]:
    """References to records that are not there for the actor, as to such that are not there."""
    for position, row in enumerate(values, start=1):
        if row.get(field.name) in unseen:
            message = f"there is no record with id {row[field.name]}"
            line = position if len(values) > 1 else None
            yield Problem("unknown_reference", message, field.name, line=line)


def told_problems(
    problems: Sequence[Problem], entity: Entity, seen: Entity, rows: Sequence[Record]
) -> list[Problem]:
    """The problems a room's rule has found, without what the writer may not see.

    A rule looks at whole records, so its words may hold names and values of unreadable fields.
    """
    visible = {field.name for field in seen.readable}
    hidden = [field.name for field in entity.readable if field.name not in visible]
    values = {
        str(row[name])
        for row in rows
        for name in hidden
        if row.get(name) not in (None, "", True, False)
    }
    return [
        _UNTOLD if one.field in hidden or _mentions(one, hidden, values) else one
        for one in problems
    ]


_UNTOLD = Problem("not_valid", "a rule about fields that you cannot see refuses this")


def _mentions(problem: Problem, names: Sequence[str], values: Iterable[str]) -> bool:
    text = " ".join((problem.message, problem.field, *problem.allowed))
    words = set(re.findall(r"\w+", text))
    spoken = {name.replace("_", " ") for name in names}
    return (
        not words.isdisjoint(names)
        or any(name in text for name in spoken if " " in name)
        or not words.isdisjoint(values)
        or any(value in text for value in values if not value.isalnum())
    )
