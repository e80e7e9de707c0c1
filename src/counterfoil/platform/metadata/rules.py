"""Rules of the customer: what must hold for records, and what follows when they are written.

``if`` a condition holds, ``then`` the record is refused, a field is required, filled in or
computed, another record is created, others are told, or a job is asked for. All of it in the
formula language, over the record as it is being written, as it was (``old.status``), and what it
points to.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Self

from counterfoil.core.formulas.formula import parse_formula
from counterfoil.core.formulas.vocabulary import DATE, Kind, Type, Vocabulary
from counterfoil.core.problems import Problem
from counterfoil.platform.metadata.entity import (
    HEADER,
    Computation,
    Entity,
    Field,
    FieldType,
    Read,
    Record,
)
from counterfoil.platform.metadata.formula_fields import formula_type, record_variables
from counterfoil.platform.metadata.job_kinds import JobKind, unknown_kind

MOST_RULES = 100
"""Rules of one entity."""

TODAY = "today"
OLD = "old."


class Effect(StrEnum):
    """What follows when the condition of a rule holds."""

    REFUSE = "refuse"  # the record is refused with the rule's message
    REQUIRE = "require"  # the field has to have a value
    DEFAULT = "default"  # an empty field gets the value
    SET = "set"  # the field gets the value, whatever it was
    PATH = "path"  # a choice goes from one value to certain others only
    APPROVE = "approve"  # a new value of the field waits until somebody else has approved it
    CREATE = "create"  # a record of another entity is created
    TELL = "tell"  # webhooks and mail rules are told
    ENQUEUE = "enqueue"  # a job is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomRule:
    """A rule as the customer states it; ``values`` and ``path`` are pairs of a name and its
    formula, and of a value and those that may follow it."""

    name: str
    entity: str
    effect: str
    on_create: bool = True
    on_update: bool = True
    condition: str = ""
    field: str = ""
    value: str = ""
    message: str = ""
    target: str = ""
    values: tuple[tuple[str, str], ...] = ()
    path: tuple[tuple[str, tuple[str, ...]], ...] = ()
    help: str = ""
    retired: bool = False

    @classmethod
    def of(cls, row: Record) -> Self:
        """From its row."""
        known = {one.name: row[one.name] for one in fields(cls) if row.get(one.name) is not None}
        known["values"] = tuple((pair[0], pair[1]) for pair in row.get("values") or ())
        known["path"] = tuple((pair[0], tuple(pair[1])) for pair in row.get("path") or ())
        return cls(**known)

    def row(self) -> Record:
        """As the row that keeps it."""
        pairs = {
            "values": [list(pair) for pair in self.values] or None,
            "path": [[word, list(next_)] for word, next_ in self.path] or None,
        }
        return {
            name: None if value == "" else value for name, value in asdict(self).items()
        } | pairs


@dataclass(frozen=True, slots=True)
class Rule:
    """A checked rule: its condition and formulas, ready to be computed."""

    stated: CustomRule
    condition: Computation | None = None
    value: Computation | None = None
    values: tuple[tuple[str, Computation], ...] = ()


_NEEDED: dict[str, frozenset[str]] = {
    Effect.REFUSE: frozenset({"condition", "message"}),
    Effect.REQUIRE: frozenset({"field"}),
    Effect.DEFAULT: frozenset({"field", "value"}),
    Effect.SET: frozenset({"field", "value"}),
    Effect.PATH: frozenset({"field", "path"}),
    Effect.APPROVE: frozenset({"field"}),
    Effect.CREATE: frozenset({"target", "values"}),
    Effect.TELL: frozenset(),
    Effect.ENQUEUE: frozenset({"target"}),
}
_POSSIBLE: dict[str, frozenset[str]] = {
    Effect.REFUSE: frozenset({"condition", "message", "field"}),
    Effect.REQUIRE: frozenset({"condition", "message", "field"}),
    Effect.DEFAULT: frozenset({"condition", "field", "value"}),
    Effect.SET: frozenset({"condition", "field", "value"}),
    Effect.PATH: frozenset({"condition", "message", "field", "path"}),
    Effect.APPROVE: frozenset({"condition", "field"}),
    Effect.CREATE: frozenset({"condition", "target", "values"}),
    Effect.TELL: frozenset({"condition", "values"}),
    Effect.ENQUEUE: frozenset({"condition", "target", "values"}),
}

_SETTABLE: dict[FieldType, Kind] = {
    FieldType.TEXT: Kind.TEXT,
    FieldType.CHOICE: Kind.TEXT,
    FieldType.INTEGER: Kind.NUMBER,
    FieldType.REFERENCE: Kind.NUMBER,
    FieldType.DECIMAL: Kind.NUMBER,
    FieldType.BOOLEAN: Kind.BOOLEAN,
    FieldType.DATE: Kind.DATE,
}
"""The fields that a formula can fill, and what it has to yield."""


class RuleCheck:
    """Checks the rules of a catalogue's entities; gathers the problems."""

    def __init__(
        self, entities: Mapping[str, Entity], job_kinds: Mapping[str, JobKind] | None = None
    ) -> None:
        self._entities = entities
        self._job_kinds = job_kinds or {}
        self._known: dict[str, dict[str, tuple[Type, Read]]] = {}
        self._approving: dict[tuple[str, str], str] = {}
        self.problems: list[Problem] = []

    def check(self, stated: CustomRule) -> Rule | None:
        """The rule, or None with its problems noted."""
        before = len(self.problems)
        place = f"rules.{stated.name}"
        entity = self._entities.get(stated.entity)
        if stated.effect not in tuple(Effect):
            self._refuse("unknown_effect", f"{stated.effect!r} is no effect", f"{place}.then")
        elif entity is None or entity.name in NOT_RULED:
            message = f"there is no entity {stated.entity!r} that rules can be for"
            self._refuse("unknown_entity", message, f"{place}.entity")
        else:
            self.problems += _shape_problems(stated, place)
            self.problems += _field_problems(stated, entity, place)
            self._demand_one_approval(stated, place)
            rule = self._with_formulas(stated, entity, place)
            if len(self.problems) == before:
                return rule
        return None

    def _refuse(self, code: str, message: str, place: str) -> None:
        self.problems.append(Problem(code, message, place))

    def _demand_one_approval(self, stated: CustomRule, place: str) -> None:
        """Each of two rules would hold back what the other one has let pass."""
        if stated.effect == Effect.APPROVE:
            first = self._approving.setdefault((stated.entity, stated.field), stated.name)
            if first != stated.name:
                message = f"waits for approval by the rule {first} already: add to its condition"
                self._refuse("double_approval", message, f"{place}.field")

    def _with_formulas(self, stated: CustomRule, entity: Entity, place: str) -> Rule:
        rule = Rule(stated)
        if stated.condition:
            condition = self._parse(stated.condition, Kind.BOOLEAN, entity, f"{place}.if")
            rule = replace(rule, condition=condition)
        field = entity.field(stated.field)
        if stated.value and field is not None and field.type in _SETTABLE:
            rule = replace(rule, value=self._filling(stated.value, field, entity, f"{place}.value"))
        target = self._target(stated, place) if stated.target else None
        filled: list[tuple[str, Computation]] = []
        for name, text in stated.values:
            where = f"{place}.values.{name}"
            found = None
            if stated.effect == Effect.TELL:
                found = self._parse_any(text, entity, where)
            elif target is not None:
                found = self._of_target(target, name, text, entity, where)
            if found is not None:
                filled.append((name, found))
        return replace(rule, values=tuple(filled))

    def _target(self, stated: CustomRule, place: str) -> Entity | None:
        """What the values of a rule are for: a new record, or the payload of a job."""
        if stated.effect != Effect.ENQUEUE:
            target = self._entities.get(stated.target)
            if target is None or target.created_by_command:
                message = f"there is no entity {stated.target!r} whose records rules can create"
                self._refuse("unknown_entity", message, f"{place}.target")
            return target
        kind = self._job_kinds.get(stated.target)
        if kind is None:
            kinds = tuple(self._job_kinds)
            self.problems.append(unknown_kind(stated.target, kinds, f"{place}.target"))
            return None
        for field in kind.fields:
            if field.required and field.default is None and field.name not in dict(stated.values):
                message = f"is needed for {kind.name}"
                self._refuse("missing", message, f"{place}.values.{field.name}")
        return kind.shape

    def _of_target(
        self, target: Entity, name: str, text: str, entity: Entity, place: str
    ) -> Computation | None:
        field = target.field(name)
        if field is None or field.computed or field.type not in _SETTABLE:
            settable = tuple(one.name for one in target.fields if one.type in _SETTABLE)
            message = f"{target.name} has no field {name} to be set"
            self.problems.append(Problem("unknown_field", message, place, settable))
            return None
        return self._filling(text, field, entity, place)

    def _filling(self, text: str, field: Field, entity: Entity, place: str) -> Computation | None:
        """A formula whose values fit into the field without being rounded."""
        computation = self._parse(text, _SETTABLE[field.type], entity, place)
        if computation is None or computation.formula.returns is not Kind.NUMBER:
            return computation
        places = field.scale if field.type is FieldType.DECIMAL else 0
        if computation.formula.root.type.scale > places:
            message = f"may yield more than {places} decimals; write round(…, {places})"
            self._refuse("too_many_places", message, place)
        return computation

    def _parse(self, text: str, returns: Kind, entity: Entity, place: str) -> Computation | None:
        known = self._variables(entity)
        vocabulary = Vocabulary({name: type_ for name, (type_, _) in known.items()})
        formula, problems = parse_formula(text, returns=returns, vocabulary=vocabulary, field=place)
        self.problems += problems
        if formula is None:
            return None
        return Computation(formula, tuple(known[ref.name][1] for ref in formula.references))

    def _parse_any(self, text: str, entity: Entity, place: str) -> Computation | None:
        """A formula that may yield whatever it does."""
        before = list(self.problems)
        for kind in (Kind.TEXT, Kind.NUMBER, Kind.BOOLEAN, Kind.DATE):
            self.problems = list(before)
            found = self._parse(text, kind, entity, place)
            if found is not None or self.problems[-1].code != "wrong_type":
                return found
        return None

    def _variables(self, entity: Entity) -> dict[str, tuple[Type, Read]]:
        if entity.name not in self._known:
            known = record_variables(entity, self._entities)
            for field in (*HEADER, *entity.fields):
                type_ = formula_type(field)
                if type_ is not None:
                    known[OLD + field.name] = type_, Read(OLD + field.name, field.name, old=True)
            known[TODAY] = DATE, Read(TODAY, "")
            self._known[entity.name] = known
        return self._known[entity.name]


NOT_RULED = frozenset(
    {"custom_entity", "custom_field", "change_set", "rule", "rule_firing", "approval"}
)
"""Entities of the model itself."""


def _shape_problems(stated: CustomRule, place: str) -> Iterator[Problem]:
    words = {"condition": "if"}
    given = {
        name
        for name in ("condition", "field", "value", "message", "target", "values", "path")
        if getattr(stated, name)
    }
    for name in sorted(_NEEDED[stated.effect] - given):
        message = f"is needed to {stated.effect}"
        yield Problem("missing", message, f"{place}.{words.get(name, name)}")
    for name in sorted(given - _POSSIBLE[stated.effect]):
        message = f"is not part of a rule that says {stated.effect}"
        yield Problem("unwelcome_option", message, f"{place}.{words.get(name, name)}")
    if not (stated.on_create or stated.on_update):
        yield Problem("missing", "when: create, update or both", f"{place}.when")


def _field_problems(stated: CustomRule, entity: Entity, place: str) -> Iterator[Problem]:
    if not stated.field:
        return
    field = entity.field(stated.field)
    if field is None or field.formula or field in HEADER:
        message = f"{entity.name} has no field {stated.field} that is entered"
        yield Problem("unknown_field", message, f"{place}.field")
        return
    fills = stated.effect in (Effect.DEFAULT, Effect.SET)
    if field.secret and (fills or stated.effect == Effect.APPROVE):
        message = f"{stated.field} is a secret, which the rule would tell"
        yield Problem("secret_field", message, f"{place}.field")
    if fills and (field.type not in _SETTABLE or (field.computed and not field.custom)):
        message = f"a formula cannot fill {stated.field}"
        yield Problem("not_settable", message, f"{place}.field")
    if fills and stated.on_update and field.immutable:
        message = f"{stated.field} never changes; write when: [create]"
        yield Problem("immutable_field", message, f"{place}.when")
    if stated.effect == Effect.APPROVE and (field.required or field.computed):
        message = f"{stated.field} cannot be without a value until it is approved"
        yield Problem("not_settable", message, f"{place}.field")
    if stated.effect == Effect.PATH:
        words = {stated_word for stated_word, _ in stated.path}
        words |= {word for _, following in stated.path for word in following}
        if field.type is not FieldType.CHOICE:
            yield Problem("wrong_type", "a path is one of a choice", f"{place}.field")
        for word in sorted(words - set(field.choices)):
            message = f"{word!r} is not a choice of {stated.field}"
            yield Problem("unknown_choice", message, f"{place}.path", field.choices)
