"""The room's own rules: grants and field rules name what there is, and leave security alone."""

from collections.abc import Sequence

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.access.entities import SECURITY_ENTITIES
from counterfoil.platform.access.roles import EVERY_COMMAND, EVERY_ENTITY, read_conditions
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import RecordCheck, UnitOfWork


def role_check(commands: Sequence[str]) -> RecordCheck:
    """The rule of roles: the commands that they grant are some of these, or ``*``."""

    def check(_uow: UnitOfWork, rows: list[Record], _old: list[Record | None]) -> list[Problem]:
        return [problem for row in rows for problem in _command_problems(row["commands"], commands)]

    return check


def _command_problems(given: object, commands: Sequence[str]) -> list[Problem]:
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        message = 'has to be a list of names, such as ["run_bills"]'
        return [Problem("wrong_type", message, "commands")]
    return [
        Problem("unknown_command", f"there is no command {one!r}", "commands", tuple(commands))
        for one in given
        if one not in (EVERY_COMMAND, *commands)
    ]


def check_grants(uow: UnitOfWork, rows: list[Record], _old: list[Record | None]) -> list[Problem]:
    """The entity exists; who writes may read; the row filter can be understood."""
    problems: list[Problem] = []
    for row in rows:
        problems.extend(_grant_problems(uow, row))
    return problems


def _grant_problems(uow: UnitOfWork, row: Record) -> list[Problem]:
    name = row["entity"]
    writes = [one for one in ("create", "update", "delete") if row[f"may_{one}"]]
    if name != EVERY_ENTITY and name not in uow.catalogue.entities:
        return [_unknown_entity(uow, name)]
    if name in SECURITY_ENTITIES and writes:
        message = "is written by administrators only; it can be granted for reading"
        return [Problem("administrators_only", message, "entity")]
    if writes and not row["may_read"]:
        return [Problem("cannot_read", "who may write records may read them as well", "may_read")]
    try:
        conditions = read_conditions(row["row_filter"])
    except Refused as refused:
        return list(refused.problems)
    if conditions and name == EVERY_ENTITY:
        message = "a filter needs an entity of its own"
        return [Problem("not_possible", message, "row_filter")]
    found = uow.row_filter_problems(name, conditions) if conditions else []
    return [
        Problem(one.code, f"{one.field}: {one.message}", "row_filter", one.allowed) for one in found
    ]


def check_field_rules(
    uow: UnitOfWork, rows: list[Record], _old: list[Record | None]
) -> list[Problem]:
    """The field exists and is not of the header, by which records are known."""
    problems: list[Problem] = []
    for row in rows:
        entity = uow.catalogue.entities.get(row["entity"])
        if entity is None:
            problems.append(_unknown_entity(uow, row["entity"]))
        elif row["field"] not in (names := tuple(field.name for field in entity.fields)):
            message = f"{entity.name} has no such field that can be restricted"
            problems.append(Problem("unknown_field", message, "field", names))
    return problems


def _unknown_entity(uow: UnitOfWork, name: str) -> Problem:
    known: Sequence[str] = tuple(uow.catalogue.entities)
    return Problem("unknown_entity", f"there is no entity {name!r}", "entity", tuple(known))


def access_checks(commands: Sequence[str]) -> dict[str, RecordCheck]:
    """The room's rules by entity; ``commands`` are all that can be granted."""
    return {
        "access_role": role_check(commands),
        "access_grant": check_grants,
        "field_rule": check_field_rules,
    }
