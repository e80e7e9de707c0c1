"""Change sets planned and applied: all of one at once, while others go on working."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from time import sleep
from typing import TypeVar

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import (
    Catalogue,
    CustomEntity,
    CustomerModel,
    CustomField,
    Record,
    build_catalogue,
)
from counterfoil.platform.metadata.changes import ModelChange, Step, plan_changes
from counterfoil.platform.metadata.rules import CustomRule
from counterfoil.platform.model.notation import ChangeSet, read_change_set, write_change_set
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.refusals import BUSY
from counterfoil.platform.records.schema_changes import (
    change_schema,
    count_version,
    schema_change,
    unfinished_indexes,
)
from counterfoil.platform.records.unit_of_work import UnitOfWork

LOCK = "change of the data model"
INDEXES = "indexes of the data model"
ATTEMPTS = 12
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0

Result = TypeVar("Result")
Pause = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change set would do: in words, and in SQL."""

    name: str
    steps: tuple[str, ...]
    sql: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """A change set that holds from this version of the catalogue on."""

    change_set_id: int
    version: int
    steps: tuple[str, ...]


def read_or_refuse(content: str, file: str = "") -> ChangeSet:
    """The change set of a text; refuses with all problems."""
    change_set, problems = read_change_set(content, file)
    if change_set is None:
        raise Refused(problems)
    return change_set


def plan_change_set(uow: UnitOfWork, content: str, file: str = "") -> Plan:
    """What a change set would do now; refuses one that could not be applied."""
    change_set = read_or_refuse(content, file)
    change = _planned(_catalogue_now(uow), change_set)
    schema = schema_change(change)
    steps = tuple(step.words for step in change.steps)
    return Plan(change_set.name, steps, (*schema.statements, *schema.afterwards))


def draft_change_set(uow: UnitOfWork, content: str) -> int:
    """Keep a change set for later; it has to be readable, not yet to fit."""
    change_set = read_or_refuse(content)
    row: Record = {"name": change_set.name, "status": "draft", "content": content}
    return uow.create_many("change_set", [row], by_command=True)[0]


def apply_change_set(
    database: Database,
    content: str,
    *,
    now: datetime,
    source: str | None = None,
    actor: str | None = None,
    file: str = "",
    pause: Pause = sleep,
) -> Applied:
    """Apply a change set, all of it or nothing.

    Who works with a table is never kept waiting for long: when the tables are not free soon, all
    is undone and tried again after a pause. Refused: 503 when they never are, 422 with all
    problems of the change set.
    """
    change_set = read_or_refuse(content, file)

    def attempt() -> Applied:
        with database.transaction(now=now, source=source, actor=actor) as uow:
            _take_turn(uow)
            return _apply(uow, change_set, content, None)

    applied = _patiently(attempt, pause)
    _make_indexes(database, now, pause)
    return applied


def apply_draft(
    database: Database,
    change_set_id: int,
    *,
    now: datetime,
    source: str | None = None,
    actor: str | None = None,
    pause: Pause = sleep,
) -> Applied:
    """Apply a draft; one that was applied already is answered as then, and nothing changes."""

    def attempt() -> Applied:
        with database.transaction(now=now, source=source, actor=actor) as uow:
            _take_turn(uow)
            kept = uow.get("change_set", change_set_id)
            if kept["status"] == "applied":
                return Applied(change_set_id, int(kept["version"]), tuple(kept["steps"] or ()))
            content = str(kept["content"])
            return _apply(uow, read_or_refuse(content), content, change_set_id)

    applied = _patiently(attempt, pause)
    _make_indexes(database, now, pause)
    return applied


def export_model(uow: UnitOfWork, name: str) -> str:
    """Everything added to the data model as the text of one change set, for elsewhere.

    What is retired is left out: the other organisation never had it.
    """
    model = uow.customer_model()[1]
    retired = {one.name for one in model.entities if one.retired}
    entities = tuple(one for one in model.entities if not one.retired)
    fields = tuple(one for one in model.fields if not one.retired and one.entity not in retired)
    rules = tuple(one for one in model.rules if not one.retired)
    return write_change_set(name, CustomerModel(entities, fields, rules))


def retiring(uow: UnitOfWork, entity: str, field: str | None) -> str:
    """The text of a change set that retires a custom entity, a custom field of an entity, or
    (``rule`` and its name) a rule."""
    model = uow.customer_model()[1]
    rule = model.rule(field or "") if entity == "rule" else None
    if rule is not None:
        wanted = CustomerModel((), (), (replace(rule, retired=True),))
        return write_change_set(f"Retire the rule {rule.name}", wanted)
    if field is None:
        one = model.entity(entity)
        if one is not None:
            wanted = CustomerModel((replace(one, retired=True),))
            return write_change_set(f"Retire {entity}", wanted)
    else:
        found = model.field(entity, field)
        if found is not None:
            wanted = CustomerModel((), (replace(found, retired=True),))
            return write_change_set(f"Retire {entity}.{field}", wanted)
    place = entity if field is None else f"{entity}.{field}"
    message = f"{place} was not added by a change set"
    raise Refused(Problem("not_custom", message, place), status=404)


def _catalogue_now(uow: UnitOfWork) -> Catalogue:
    """The catalogue as it is by now: another change set may have ended since the beginning."""
    version, customer = uow.customer_model()
    if version == uow.catalogue.version:
        return uow.catalogue
    return build_catalogue(
        uow.catalogue.declared, customer, version, uow.catalogue.job_kinds.values()
    )


def _planned(before: Catalogue, change_set: ChangeSet) -> ModelChange:
    change, problems = plan_changes(
        before, change_set.entities, change_set.fields, change_set.rules
    )
    if problems:
        raise Refused(problems)
    return change


def _take_turn(uow: UnitOfWork) -> None:
    if not uow.lock(LOCK):
        raise Refused(Problem(BUSY, "another change set is being applied"), status=503)


def _apply(uow: UnitOfWork, change_set: ChangeSet, content: str, draft: int | None) -> Applied:
    change = _planned(_catalogue_now(uow), change_set)
    change_schema(uow, schema_change(change))
    _keep_rows(uow, change)
    version = count_version(uow) if change.steps else change.before.version
    steps = [step.words for step in change.steps]
    done: Record = {
        "status": "applied",
        "steps": steps,
        "version": version,
        "applied_at": uow.now,
    }
    if draft is None:
        row = {"name": change_set.name, "content": content, **done}
        draft = uow.create_many("change_set", [row], by_command=True)[0]
    else:
        uow.update_many("change_set", [(draft, done)], by_command=True)
    return Applied(draft, version, tuple(steps))


def _keep_rows(uow: UnitOfWork, change: ModelChange) -> None:
    """Write the rows of what was added or changed."""
    for entity in ("custom_entity", "custom_field", "rule"):
        steps = [step for step in change.steps if _kept_in(step) == entity]
        wanted = {_key(step): _row(change, step) for step in steps}
        ids = _row_ids(uow, entity)
        new = [row for key, row in wanted.items() if key not in ids]
        uow.create_many(entity, new, by_command=True)
        immutable = {one.name for one in uow.catalogue.entity(entity).fields if one.immutable}
        uow.update_many(
            entity,
            [
                (ids[key], {name: row[name] for name in row.keys() - immutable})
                for key, row in wanted.items()
                if key in ids
            ],
            by_command=True,
        )


def _kept_in(step: Step) -> str:
    if step.rule:
        return "rule"
    return "custom_field" if step.field else "custom_entity"


def _key(step: Step) -> tuple[str, str]:
    return (step.rule, "") if step.rule else (step.entity, step.field)


def _row(change: ModelChange, step: Step) -> Record:
    model = change.after.customer
    one: CustomRule | CustomField | CustomEntity | None = model.rule(step.rule)
    if not step.rule:
        one = model.field(step.entity, step.field) if step.field else model.entity(step.entity)
    if one is None:
        raise LookupError(step)
    return one.row()


def _row_ids(uow: UnitOfWork, entity: str) -> dict[tuple[str, str], int]:
    columns = "entity, name" if entity == "custom_field" else "name, ''"
    rows = uow.query(f"SELECT id, {columns.replace(', ', ' AS owner, ')} AS member FROM {entity}")
    return {(str(row["owner"]), str(row["member"])): int(row["id"]) for row in rows}


def _patiently(attempt: Callable[[], Result], pause: Pause) -> Result:
    """The result of an attempt, tried again with longer and longer pauses while others are busy."""
    wait = FIRST_PAUSE
    for _ in range(ATTEMPTS - 1):
        try:
            return attempt()
        except Refused as refused:
            if refused.problems[0].code != BUSY:
                raise
        pause(wait)
        wait = min(2 * wait, LONGEST_PAUSE)
    return attempt()


def _make_indexes(database: Database, now: datetime, pause: Pause) -> None:
    """Make the indexes that are missing; nobody waits for those.

    Should this process be killed, whoever applies the next change set makes them.
    """

    def statements() -> list[str]:
        with database.transaction(now=now) as uow:
            return unfinished_indexes(uow)

    for _ in range(ATTEMPTS):
        if database.run_alone(INDEXES, statements):
            return
        pause(LONGEST_PAUSE)
