"""The difference between a customer's model as it is and as it is wanted; pure.

Only what adds or widens is possible while others work: a field may get more choices, never fewer.
What is not wanted any more is retired: hidden everywhere, with its values kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from counterfoil.core.problems import Problem
from counterfoil.platform.metadata.catalogue import Catalogue, build_catalogue
from counterfoil.platform.metadata.customer import (
    CustomEntity,
    CustomerModel,
    CustomField,
    FieldKind,
)
from counterfoil.platform.metadata.rules import CustomRule


class Action(StrEnum):
    """What a step does."""

    ADD = "add"
    CHANGE = "change"
    RETIRE = "retire"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class Step:
    """One difference: of an entity, of its field ``field``, or of a ``rule``; told in ``words``.

    ``changed`` names what is different in a change.
    """

    action: Action
    entity: str
    field: str
    words: str
    changed: tuple[str, ...] = ()
    rule: str = ""


@dataclass(frozen=True, slots=True)
class ModelChange:
    """What a change set would do: its steps, and the catalogue afterwards."""

    before: Catalogue
    after: Catalogue
    steps: tuple[Step, ...]


def plan_changes(
    before: Catalogue,
    entities: Sequence[CustomEntity],
    fields: Sequence[CustomField],
    rules: Sequence[CustomRule] = (),
) -> tuple[ModelChange, list[Problem]]:
    """The steps from the catalogue as it is to one with these, each stated in full.

    Entities and fields that are not named stay as they are.
    """
    model = before.customer
    wanted = model.updated(entities, fields, rules)
    steps: list[Step] = []
    problems: list[Problem] = []
    for entity in entities:
        known = model.entity(entity.name)
        if known is None and entity.retired:
            problems.append(Problem("not_there", "there is nothing to retire", entity.name))
        elif known is not None and known.plural != entity.plural:
            problems.append(_unchangeable(entity.name, "plural"))
        steps += _entity_steps(known, entity)
    for field in fields:
        old = model.field(field.entity, field.name)
        if old is None and field.retired:
            message = "there is nothing to retire"
            problems.append(Problem("not_there", message, f"{field.entity}.{field.name}"))
        elif old is not None:
            problems += _narrowings(old, field)
        problems += _out_of_reach(old, field, wanted)
        steps += _field_steps(old, field)
    for rule in rules:
        stated = model.rule(rule.name)
        if stated is None and rule.retired:
            message = "there is nothing to retire"
            problems.append(Problem("not_there", message, f"rules.{rule.name}"))
        elif stated is not None:
            problems += [
                _unchangeable(f"rules.{rule.name}", word)
                for word, name in (("entity", "entity"), ("then", "effect"))
                if getattr(stated, name) != getattr(rule, name)
            ]
        steps += _rule_steps(stated, rule)
    after = build_catalogue(before.declared, wanted, before.version + 1, before.job_kinds.values())
    return ModelChange(before, after, tuple(steps)), [*problems, *after.problems]


def _entity_steps(old: CustomEntity | None, new: CustomEntity) -> Iterator[Step]:
    name = new.name
    if old is None:
        words = f"add the entity {name} ({new.label or new.plural})"
        yield Step(Action.ADD, name, "", words)
    elif old != new:
        changed = _changed(old.row(), new.row())
        yield from _changes(name, "", f"the entity {name}", changed, retired=new.retired)


def _field_steps(old: CustomField | None, new: CustomField) -> Iterator[Step]:
    place = f"{new.entity}.{new.name}"
    if old is None:
        yield Step(Action.ADD, new.entity, new.name, f"add {place}: {_told(new)}")
    elif old != new:
        changed = _changed(old.row(), new.row())
        yield from _changes(new.entity, new.name, place, changed, retired=new.retired)


def _rule_steps(old: CustomRule | None, new: CustomRule) -> Iterator[Step]:
    if old is None:
        words = f"add the rule {new.name}: {_rule_told(new)}"
        yield Step(Action.ADD, new.entity, "", words, rule=new.name)
    elif old != new:
        changed = _changed(old.row(), new.row())
        for step in _changes(new.entity, "", f"the rule {new.name}", changed, retired=new.retired):
            yield replace(step, rule=new.name)


def _rule_told(rule: CustomRule) -> str:
    when = [word for word, on in (("created", rule.on_create), ("changed", rule.on_update)) if on]
    parts = [f"when a record of {rule.entity} is {' or '.join(when)}"]
    if rule.condition:
        parts.append(f"if {rule.condition}")
    what = [rule.effect, rule.target or rule.field]
    if rule.value:
        what.append(f"to {rule.value}")
    if rule.message:
        what.append(f"({rule.message})")
    return ", ".join([*parts, "then " + " ".join(part for part in what if part)])


def _changed(old: dict[str, object], new: dict[str, object]) -> dict[str, tuple[object, object]]:
    return {name: (old[name], new[name]) for name in new if old[name] != new[name]}


def _changes(
    entity: str,
    field: str,
    place: str,
    changed: dict[str, tuple[object, object]],
    *,
    retired: bool,
) -> Iterator[Step]:
    if changed.pop("retired", None) is not None:
        action = Action.RETIRE if retired else Action.RESTORE
        fate = "hide it, keep its values" if retired else "show it again"
        yield Step(action, entity, field, f"{action} {place}: {fate}")
    if changed:
        told = "; ".join(
            f"{name} from {_value(old)} to {_value(new)}" for name, (old, new) in changed.items()
        )
        yield Step(Action.CHANGE, entity, field, f"change {place}: {told}", tuple(changed))


def _value(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "nothing" if value is None else str(value)


def _told(field: CustomField) -> str:
    """A field in words."""
    parts = [field.kind.replace("_", " ")]
    if field.kind == FieldKind.DECIMAL:
        parts.append(f"of {field.digits} digits, {field.places} after the point")
    if field.kind == FieldKind.MONEY:
        parts.append(f"with its currency in {field.name}_currency")
    if field.choices:
        parts.append(f"of {', '.join(field.choices)}")
    if field.target:
        parts.append(f"to {field.target}")
    if field.formula:
        parts.append(f"{field.returns}: {field.formula}")
    marks = [name for name in ("required", "unique", "indexed") if getattr(field, name)]
    marks += ["told on invoices"] if field.on_invoice else []
    return " ".join(parts) + "".join(f", {mark}" for mark in marks)


_FIXED = ("kind", "target", "on_delete", "unique", "returns", "places")


def _unchangeable(place: str, name: str) -> Problem:
    message = f"{name} cannot be changed; retire it and add another one"
    return Problem("cannot_change", message, f"{place}.{name}")


_IN_COLUMN = ("choices", "digits", "minimum", "maximum", "indexed")


def _out_of_reach(
    old: CustomField | None, new: CustomField, wanted: CustomerModel
) -> Iterator[Problem]:
    """What would have to be done to a hidden column: it stays as it is until it is shown."""
    place = f"{new.entity}.{new.name}"
    owner = wanted.entity(new.entity)
    if old is None and owner is not None and owner.retired:
        message = f"{new.entity} is retired: bring it back in the same change set"
        yield Problem("retired", message, place)
    elif old is not None and (new.retired or (owner is not None and owner.retired)):
        for name in (one for one in _IN_COLUMN if getattr(old, one) != getattr(new, one)):
            message = f"is retired: bring it back in the same change set to change its {name}"
            yield Problem("retired", message, f"{place}.{name}")


def _narrowings(old: CustomField, new: CustomField) -> Iterator[Problem]:
    """What would make values wrong that there are, or programs that write them."""
    place = f"{new.entity}.{new.name}"
    for name in _FIXED:
        if getattr(old, name) != getattr(new, name):
            yield _unchangeable(place, name)
    lost = [word for word in old.choices if word not in new.choices]
    narrower = {
        "required": new.required and not old.required,
        "indexed": old.indexed and not new.indexed,
        "choices": bool(lost),
        "digits": new.digits < old.digits,
        "max_length": new.max_length < old.max_length,
        "minimum": new.minimum is not None and (old.minimum is None or new.minimum > old.minimum),
        "maximum": new.maximum is not None and (old.maximum is None or new.maximum < old.maximum),
    }
    for name in (name for name, is_narrower in narrower.items() if is_narrower):
        detail = f" (missing: {', '.join(lost)})" if name == "choices" else ""
        message = f"{name} can only be widened, for records have values already{detail}"
        yield Problem("only_wider", message, f"{place}.{name}")
