"""Fields of related records by path: ``account.parent.name`` as a column of one statement.

Each reference on the way is one LEFT JOIN, made once however often it is asked for. What the
reader may not see is not there: neither the field nor, as if nothing were referred to, the record.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, false, or_, true

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Catalogue, Entity, Field, FieldType
from counterfoil.platform.records.pages import Filter, column_condition

LONGEST_PATH = 5
"""References that a path may lead through."""

MOST_JOINED = 40
"""References that all paths of a query may follow: PostgreSQL plans each, in more and more time."""

MOST_CONDITIONS = 500
DEEPEST_CONDITION = 10


@dataclass(frozen=True, slots=True)
class All:
    """Every one of the conditions is met."""

    parts: tuple["Where", ...]


@dataclass(frozen=True, slots=True)
class Any_:  # noqa: N801 - Any is taken
    """At least one of the conditions is met."""

    parts: tuple["Where", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The condition is not met."""

    part: "Where"


Where = Filter | All | Any_ | Not
"""A condition over fields and paths."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads: the field, and its column in the statement."""

    field: Field
    column: ColumnElement[Any]
    nullable: bool


class Paths:
    """The tables of one statement: that of the entity, and those its paths lead to.

    ``rows_of`` gives the rows of an entity that the reader sees, under a name of their own.
    """

    def __init__(
        self, catalogue: Catalogue, entity: Entity, rows_of: Callable[[str], FromClause]
    ) -> None:
        self._catalogue = catalogue
        self._rows_of = rows_of
        self.entity = entity
        self.root = rows_of(entity.name)
        self._joined: dict[tuple[str, ...], tuple[Entity, FromClause]] = {
            (): (entity, self.root),
        }
        self.tables: FromClause = self.root

    def place(self, path: str) -> Place:
        """Where the path leads; refuses unknown fields, and paths that are too long."""
        *way, last = path.split(".")
        if len(way) > LONGEST_PATH:
            message = f"leads through more than {LONGEST_PATH} references"
            raise Refused(Problem("path_too_long", message, path))
        entity, rows = self._follow(way, path)
        field = entity.field(last)
        if field is None or field.secret:
            raise unknown_path(entity, path)
        column = rows.c[field.name]
        return Place(field, column, bool(way) or field.custom or not field.required)

    def condition(self, where: Where | None) -> ColumnElement[bool]:
        """The condition as SQL; refuses (422) with all problems at once."""
        if where is None:
            return true()
        problems: list[Problem] = []
        if _size(where) > MOST_CONDITIONS:
            message = f"more than {MOST_CONDITIONS} conditions"
            raise Refused(Problem("too_many_conditions", message, "where"))
        condition = self._condition(where, problems)
        if problems:
            raise Refused(problems)
        return condition

    def _condition(self, where: Where, problems: list[Problem]) -> ColumnElement[bool]:
        match where:
            case Filter():
                try:
                    place = self.place(where.field)
                    return column_condition(place.field, place.column, where)
                except Refused as refused:
                    problems.extend(refused.problems)
                    return true()
            case All():
                return and_(true(), *(self._condition(part, problems) for part in where.parts))
            case Any_():
                return or_(false(), *(self._condition(part, problems) for part in where.parts))
            case Not():
                # What is unknown, because a value is empty, is not met either.
                return self._condition(where.part, problems).is_not(true())

    def _follow(self, way: Sequence[str], path: str) -> tuple[Entity, FromClause]:
        reached: tuple[str, ...] = ()
        for name in way:
            entity, rows = self._joined[reached]
            field = reference_named(entity, name)
            if field is None or field.target not in self._catalogue.entities:
                raise unknown_path(entity, path)
            reached = (*reached, field.name)
            if reached not in self._joined:
                if len(self._joined) > MOST_JOINED:
                    message = f"the query follows more than {MOST_JOINED} references"
                    raise Refused(Problem("too_many_references", message, path))
                target = self._rows_of(field.target)
                self.tables = self.tables.outerjoin(target, target.c.id == rows.c[field.name])
                self._joined[reached] = (self._catalogue.entities[field.target], target)
        return self._joined[reached]


def reference_named(entity: Entity, name: str) -> Field | None:
    """The reference of that name, which may stand without its ``_id``."""
    for known in (name, f"{name}_id"):
        field = entity.field(known)
        if field is not None and field.type is FieldType.REFERENCE and not field.secret:
            return field
    return None


def unknown_path(entity: Entity, path: str) -> Refused:
    """The refusal of a path that leads to no field, naming those at its end."""
    allowed = tuple(field.name for field in entity.readable)
    return Refused(Problem("unknown_field", f"{entity.name} has no such field", path, allowed))


def _size(where: Where, depth: int = 0) -> int:
    if depth > DEEPEST_CONDITION:
        message = f"conditions nested deeper than {DEEPEST_CONDITION}"
        raise Refused(Problem("too_deep", message, "where"))
    if isinstance(where, Filter):
        return 1
    parts = (where.part,) if isinstance(where, Not) else where.parts
    return sum(_size(part, depth + 1) for part in parts)


def prefixed(problem: Problem, prefix: str) -> Problem:
    """The problem with a field that is told from the beginning of a request."""
    return replace(problem, field=f"{prefix}.{problem.field}")
