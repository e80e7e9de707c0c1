"""Which of many rows broke a constraint: the database names only the first, and no line."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Entity, FieldType, Record

_LOCATED = frozenset({"not_unique", "unknown_reference"})


class Queries(Protocol):
    """Something that runs a SELECT: a unit of work."""

    def query(self, sql: str, **parameters: object) -> list[Record]:
        """The rows of a SELECT with ``:name`` parameters."""
        ...


def locate_refusal(
    queries: Queries,
    entity: Entity,
    rows: Sequence[Record],
    lines: Sequence[int],
    refused: Refused,
) -> Refused:
    """The refusal with one problem per offending row; unchanged where no row is found.

    A fixed number of queries: one for each reference, or one for each unique key. ``lines`` are
    the numbers of the rows.
    """
    if len(rows) < 2 or refused.problems[0].code not in _LOCATED:
        return refused
    if refused.problems[0].code == "unknown_reference":
        problems = _unknown_references(queries, entity, rows)
    else:
        problems = _double_keys(queries, entity, rows)
    if not problems:
        return refused
    numbered = [replace(problem, line=lines[(problem.line or 1) - 1]) for problem in problems]
    return Refused(sorted(numbered, key=lambda problem: problem.line or 0), refused.status)


def _unknown_references(queries: Queries, entity: Entity, rows: Sequence[Record]) -> list[Problem]:
    problems: list[Problem] = []
    for field in entity.fields:
        if field.type is not FieldType.REFERENCE:
            continue
        wanted = sorted({row[field.name] for row in rows if row[field.name] is not None})
        found = queries.query(f'SELECT id FROM "{field.target}" WHERE id = ANY(:ids)', ids=wanted)
        known = {row["id"] for row in found}
        if field.target == entity.name:
            known |= {row["id"] for row in rows}
        problems += [
            Problem(
                "unknown_reference",
                f"there is no record with id {row[field.name]}",
                field.name,
                line=line,
            )
            for line, row in enumerate(rows, start=1)
            if row[field.name] is not None and row[field.name] not in known
        ]
    return problems


def _double_keys(queries: Queries, entity: Entity, rows: Sequence[Record]) -> list[Problem]:
    problems: list[Problem] = []
    noun = entity.label or entity.name.replace("_", " ")
    for key in [(field.name,) for field in entity.fields if field.unique] + list(entity.unique):
        values = [tuple(row[name] for name in key) for row in rows]
        taken = _taken(queries, entity, key, rows, values)
        for line, value in enumerate(values, start=1):
            if value in taken and None not in value:
                words = ", ".join(key), ", ".join(map(str, value))
                message = f"another {noun} has {words[0]} {words[1]} already"
                problems.append(Problem("not_unique", message, words[0], line=line))
            taken.add(value)
    return problems


def _taken(
    queries: Queries,
    entity: Entity,
    key: Sequence[str],
    rows: Sequence[Record],
    values: Sequence[tuple[object, ...]],
) -> set[tuple[object, ...]]:
    """The keys that records beside these rows have."""
    names = ", ".join(f'"{name}"' for name in key)
    firsts = [value[0] for value in values if value[0] is not None]
    found = queries.query(
        f'SELECT {names} FROM "{entity.name}" WHERE "{key[0]}" = ANY(:firsts) AND id <> ALL(:ids)',
        firsts=firsts,
        ids=[row["id"] for row in rows],
    )
    return {tuple(row[name] for name in key) for row in found}
