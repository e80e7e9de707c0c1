"""What an actor may do, as a frozen value; the records room asks it before every read and write.

Whatever reads or writes for an actor works on the catalogue *as the actor sees it*
(:func:`seen_catalogue`). So what may not be read is not there: in select, filter, sort, group,
formula and message it is told exactly as something that does not exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata.catalogue import Catalogue
from counterfoil.platform.metadata.entity import Entity, Field

Operation = Literal["read", "create", "update", "delete"]
OPERATIONS: tuple[Operation, ...] = ("read", "create", "update", "delete")


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a row filter.

    ``path`` is a field, or leads through references to one of another record
    (``account_id.country``); ``op`` and ``value`` are those of a list's filter.
    """

    path: str
    op: str
    value: object


Rows = tuple[tuple[Condition, ...], ...]
"""Which records: those that meet all conditions of one of the alternatives."""

EVERY_ROW: Rows = ((),)
NO_ROW: Rows = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityAccess:
    """What may be done with one entity: the rows of each operation, and the fields that may not
    be read or written. An operation that is absent is not granted."""

    rows: Mapping[Operation, Rows] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    unwritable: frozenset[str] = frozenset()


NOTHING = EntityAccess()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Access:
    """What one actor may do: entities by name, and the commands he may run.

    ``unrestricted`` means everything, whatever the rest says. An access equals only itself, so
    that what follows from it can be kept for it.
    """

    entities: Mapping[str, EntityAccess] = field(default_factory=dict)
    commands: frozenset[str] = frozenset()
    unrestricted: bool = False

    def rows(self, entity: str, operation: Operation) -> Rows:
        """The records of an entity on which the operation is granted."""
        if self.unrestricted:
            return EVERY_ROW
        return self.entities.get(entity, NOTHING).rows.get(operation, NO_ROW)

    def may(self, entity: str, operation: Operation) -> bool:
        """Whether the operation is granted on some records of the entity."""
        return self.rows(entity, operation) != NO_ROW

    def demand(self, entity: Entity, operation: Operation) -> None:
        """Refuse (403) an operation that is not granted on an entity that can be seen."""
        if not self.may(entity.name, operation):
            noun = (entity.label or entity.name).replace("_", " ")
            raise Refused(
                Problem("not_granted", f"your roles do not let you {operation} a {noun}"), 403
            )

    def may_run(self, command: str) -> bool:
        """Whether the command is granted; the empty name is for administrators only."""
        if self.unrestricted:
            return True
        return command != "" and not self.commands.isdisjoint({command, "*"})

    def demand_command(self, command: str) -> None:
        """Refuse (403) a command that is not granted."""
        if not self.may_run(command):
            what = f"run {command}" if command else "do this"
            raise Refused(Problem("not_granted", f"your roles do not let you {what}"), 403)


FULL_ACCESS = Access(unrestricted=True)
"""Everything: for administrators, the command line, jobs, and commands on behalf of others."""

NO_ACCESS = Access()
"""Nothing at all."""


def seen_entity(access: Access, entity: Entity) -> Entity:
    """The entity as the actor sees it: without unreadable fields, unwritable ones as computed."""
    granted = access.entities.get(entity.name, NOTHING)
    hidden = granted.unreadable
    may_write = access.may(entity.name, "create") or access.may(entity.name, "update")
    fields = tuple(
        replace(one, computed=True) if one.name in granted.unwritable or not may_write else one
        for one in entity.fields
        if one.name not in hidden and _may_compute(access, granted, one)
    )
    return replace(
        entity,
        fields=fields,
        unique=tuple(key for key in entity.unique if hidden.isdisjoint(key)),
        indexes=tuple(key for key in entity.indexes if hidden.isdisjoint(key)),
    )


def _may_compute(access: Access, granted: EntityAccess, field: Field) -> bool:
    """Whether all that a formula reads may be read: a computed field is no way around it."""
    return field.computation is None or all(
        read.field not in granted.unreadable
        and (
            not read.target
            or (
                access.rows(read.target, "read") == EVERY_ROW
                and read.far not in access.entities[read.target].unreadable
            )
        )
        for read in field.computation.reads
    )


@lru_cache(maxsize=256)
def seen_catalogue(access: Access, catalogue: Catalogue) -> Catalogue:
    """The catalogue as the actor sees it: only entities with a grant to read, only their fields.

    One and the same value for the same access and catalogue.
    """
    if access.unrestricted:
        return catalogue
    return replace(
        catalogue,
        entities={
            name: seen_entity(access, entity)
            for name, entity in catalogue.entities.items()
            if access.may(name, "read")
        },
    )
