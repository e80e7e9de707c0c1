"""From roles to an :class:`Access`: the union over roles, each with its restrictions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import FULL_ACCESS, Access, Catalogue, Entity, Record
from counterfoil.platform.metadata.access import (
    EVERY_ROW,
    OPERATIONS,
    Condition,
    EntityAccess,
    Operation,
    Rows,
)
from counterfoil.platform.records.unit_of_work import UnitOfWork

EVERY_ENTITY = "*"
EVERY_COMMAND = "*"
COMMAND = "command"
"""What a scope begins with that names a command: ``command:run_bills``."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a role may do with an entity, on the records that meet all conditions."""

    entity: str
    operations: frozenset[Operation]
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What a role may not do with a field; ``read`` denies writing as well."""

    entity: str
    field: str
    denies: str


@dataclass(frozen=True, slots=True)
class Role:
    """A role with all that it grants and restricts."""

    name: str
    administrator: bool = False
    commands: frozenset[str] = frozenset()
    grants: tuple[Grant, ...] = ()
    rules: tuple[FieldRule, ...] = ()

    def grant(self, entity: Entity) -> Grant | None:
        """The grant that counts for an entity: its own before the one of all entities."""
        by_name = {grant.entity: grant for grant in self.grants}
        of_all = None if entity.apart else by_name.get(EVERY_ENTITY)
        return by_name.get(entity.name) or of_all

    def denied(self, entity: str, *denials: str) -> frozenset[str]:
        """The fields of an entity that a rule denies."""
        return frozenset(
            rule.field for rule in self.rules if rule.entity == entity and rule.denies in denials
        )


def compile_access(roles: Sequence[Role], catalogue: Catalogue) -> Access:
    """The rights of someone who has these roles."""
    if any(role.administrator for role in roles):
        return FULL_ACCESS
    entities = {
        name: found
        for name, entity in catalogue.entities.items()
        if (found := _entity_access(roles, entity)) is not None
    }
    return Access(
        entities=entities,
        commands=frozenset().union(*(role.commands for role in roles)),
    )


def _entity_access(roles: Sequence[Role], entity: Entity) -> EntityAccess | None:
    granting = [(role, grant) for role in roles if (grant := role.grant(entity)) is not None]
    readers = [role for role, grant in granting if "read" in grant.operations]
    if not readers:
        return None
    writers = [role for role, grant in granting if grant.operations & {"create", "update"}]
    unreadable = _common(role.denied(entity.name, "read") for role in readers)
    unwritable = _common(role.denied(entity.name, "read", "write") for role in writers)
    return EntityAccess(
        rows={
            operation: rows
            for operation in OPERATIONS
            if (rows := _rows(grant for _, grant in granting if operation in grant.operations))
        },
        unreadable=unreadable,
        unwritable=unwritable | unreadable,
    )


def _common(denied: Iterable[frozenset[str]]) -> frozenset[str]:
    """What every one of the roles denies: a field is open when one of them leaves it open."""
    sets = list(denied)
    return frozenset.intersection(*sets) if sets else frozenset()


def _rows(grants: Iterable[Grant]) -> Rows:
    alternatives = tuple(dict.fromkeys(grant.conditions for grant in grants))
    return EVERY_ROW if () in alternatives else alternatives


def limit_access(access: Access, scopes: Iterable[str], catalogue: Catalogue) -> Access:
    """The part of an access that the scopes of an API key name."""
    named: dict[str, set[str]] = {}
    for scope in scopes:
        subject, _, operation = scope.partition(":")
        named.setdefault(subject, set()).add(operation)
    commands = named.pop(COMMAND, set())
    entities = {}
    for name, entity in catalogue.entities.items():
        words = named.get(name, set())
        if not entity.apart:
            words = words | named.get(EVERY_ENTITY, set())
        if words:
            entities[name] = _limited(access, name, words)
    if EVERY_COMMAND in commands:
        allowed = frozenset({EVERY_COMMAND}) if access.unrestricted else access.commands
    else:
        allowed = frozenset(one for one in commands if access.may_run(one))
    return Access(entities=entities, commands=allowed)


def _limited(access: Access, entity: str, words: set[str]) -> EntityAccess:
    """Each operation includes reading, without which it makes no sense."""
    operations = [one for one in OPERATIONS if one in words or one == "read"]
    given = access.entities.get(entity, EntityAccess())
    return EntityAccess(
        rows={one: rows for one in operations if (rows := access.rows(entity, one))},
        unreadable=given.unreadable,
        unwritable=given.unwritable,
    )


def check_scopes(scopes: Sequence[object], access: Access, catalogue: Catalogue) -> list[str]:
    """The scopes of a new key; refuses what is no scope, or beyond its owner's rights."""
    problems: list[Problem] = []
    for scope in scopes:
        subject, _, word = scope.partition(":") if isinstance(scope, str) else ("", "", "")
        if subject == COMMAND:
            right = access.may_run(word) or word == EVERY_COMMAND
        elif word in OPERATIONS and subject in (EVERY_ENTITY, *catalogue.entities):
            operation = next(one for one in OPERATIONS if one == word)
            right = subject == EVERY_ENTITY or access.may(subject, operation)
        else:
            message = f"{scope!r} is no scope; write entity:operation, *:read or command:name"
            problems.append(Problem("unknown_scope", message, "scopes", OPERATIONS))
            continue
        if not right:
            message = f"{scope} is more than the owner of the key may do"
            problems.append(Problem("not_granted", message, "scopes"))
    if problems:
        raise Refused(problems)
    return [str(scope) for scope in scopes]


def load_roles(uow: UnitOfWork, ids: Sequence[int]) -> list[Role]:
    """The roles of those ids with their grants and rules, in that order."""
    grants = _by_role(uow, "SELECT * FROM access_grant WHERE access_role_id = ANY(:ids)", ids)
    rules = _by_role(uow, "SELECT * FROM field_rule WHERE access_role_id = ANY(:ids)", ids)
    rows = uow.query("SELECT * FROM access_role WHERE id = ANY(:ids)", ids=list(ids))
    by_id = {row["id"]: row for row in rows}
    return [
        Role(
            name=row["external_id"],
            administrator=row["administrator"],
            commands=frozenset(row["commands"] or ()),
            grants=tuple(read_grant(one) for one in grants.get(row["id"], ())),
            rules=tuple(
                FieldRule(one["entity"], one["field"], one["denies"])
                for one in rules.get(row["id"], ())
            ),
        )
        for row in (by_id[one] for one in ids if one in by_id)
    ]


def _by_role(uow: UnitOfWork, sql: str, ids: Sequence[int]) -> Mapping[int, list[Record]]:
    found: dict[int, list[Record]] = {}
    for row in uow.query(f"{sql} ORDER BY id", ids=list(ids)):
        found.setdefault(row["access_role_id"], []).append(row)
    return found


def read_grant(row: Record) -> Grant:
    """The grant of a record."""
    return Grant(
        entity=row["entity"],
        operations=frozenset(one for one in OPERATIONS if row[f"may_{one}"]),
        conditions=read_conditions(row["row_filter"]),
    )


def read_conditions(row_filter: object) -> tuple[Condition, ...]:
    """The conditions of a row filter; refuses another shape than that of the example."""
    if row_filter in (None, [], {}):
        return ()
    rows = row_filter if isinstance(row_filter, list) else []
    shaped = [
        Condition(row["field"], row["op"], row["value"])
        for row in rows
        if isinstance(row, dict)
        and row.keys() == {"field", "op", "value"}
        and isinstance(row["field"], str)
        and isinstance(row["op"], str)
    ]
    if not shaped or len(shaped) != len(rows):
        message = 'has to be a list of {"field": …, "op": …, "value": …}'
        raise Refused(Problem("wrong_type", message, "row_filter"))
    return tuple(_frozen(one) for one in shaped)


def _frozen(condition: Condition) -> Condition:
    value = condition.value
    kept = tuple(value) if isinstance(value, list) else value
    return Condition(condition.path, condition.op, kept)
