"""A change set as a text file, in YAML: read with every problem at its line, and written."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

import yaml

from counterfoil.core.notation.located import Entry, Kind, Reader, Rule, line_of
from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import CustomEntity, CustomerModel, CustomField
from counterfoil.platform.metadata.customer import LONGEST_NAME
from counterfoil.platform.metadata.customer_checks import KINDS
from counterfoil.platform.metadata.rules import CustomRule, Effect

_TOP = {
    "change_set": Rule(required=True, max_length=255),
    "entities": Rule(kind=Kind.NODE),
    "fields": Rule(kind=Kind.NODE),
    "rules": Rule(kind=Kind.NODE),
}
_YES = Rule(kind=Kind.BOOLEAN, default=False)
_BOUND = Rule(kind=Kind.INTEGER)
_ENTITY = {
    "plural": Rule(required=True),
    "label": Rule(default="", max_length=255),
    "help": Rule(default="", max_length=2000),
    "retired": _YES,
}
_FIELD = {
    "kind": Rule(required=True, choices=KINDS),
    "label": Rule(default="", max_length=255),
    "help": Rule(default="", max_length=2000),
    "required": _YES,
    "unique": _YES,
    "indexed": _YES,
    "choices": Rule(kind=Kind.TEXTS, default=()),
    "target": Rule(default=""),
    "on_delete": Rule(default="restrict"),
    "digits": Rule(kind=Kind.INTEGER, default=18),
    "places": Rule(kind=Kind.INTEGER, default=6),
    "minimum": _BOUND,
    "maximum": _BOUND,
    "max_length": Rule(kind=Kind.INTEGER, default=255),
    "default": Rule(default="", max_length=255),
    "formula": Rule(default="", max_length=4000),
    "returns": Rule(default=""),
    "on_invoice": _YES,
    "retired": _YES,
}
_RULE = {
    "entity": Rule(required=True),
    "when": Rule(kind=Kind.TEXTS, default=("create", "update")),
    "if": Rule(default="", max_length=4000),
    "then": Rule(required=True, choices=tuple(effect.value for effect in Effect)),
    "field": Rule(default=""),
    "value": Rule(default="", max_length=4000),
    "message": Rule(default="", max_length=1000),
    "target": Rule(default=""),
    "values": Rule(kind=Kind.NAMED, default={}),
    "path": Rule(kind=Kind.NODE),
    "help": Rule(default="", max_length=2000),
    "retired": _YES,
}
_RULE_NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*", re.ASCII)
_WHEN = ("create", "update")


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What a change set asks for; everything it names is stated in full."""

    name: str
    entities: tuple[CustomEntity, ...] = ()
    fields: tuple[CustomField, ...] = ()
    rules: tuple[CustomRule, ...] = ()


def read_change_set(text: str, file: str = "") -> tuple[ChangeSet | None, list[Problem]]:
    """A change set from its text; JSON is YAML as well."""
    reader = Reader(file)
    node = reader.document(text)
    top = None if node is None else reader.entry(node, _TOP, "")
    if top is None:
        return None, reader.problems
    entities = tuple(
        CustomEntity(name=name, **entry.values)
        for name, entry in _named(reader, top["entities"], "entities", _ENTITY)
    )
    found: list[CustomField] = []
    for owner, node_of_owner in _pairs(reader, top["fields"], "fields"):
        found += [
            CustomField(entity=owner, name=name, **entry.values)
            for name, entry in _named(reader, node_of_owner, f"fields.{owner}", _FIELD)
        ]
    rules = tuple(
        _rule(reader, name, entry) for name, entry in _named(reader, top["rules"], "rules", _RULE)
    )
    if not (entities or found or rules or reader.problems):
        reader.refuse("empty_change_set", "adds nothing and changes nothing", 1, "")
    if reader.problems:
        return None, reader.problems
    return ChangeSet(str(top["change_set"]), entities, tuple(found), rules), []


def _rule(reader: Reader, name: str, entry: Entry) -> CustomRule:
    place = f"rules.{name}"
    if not _RULE_NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        message = f"a rule's name has small letters, digits and hyphens, {LONGEST_NAME} at most"
        reader.refuse("bad_name", message, entry.line, place)
    for word in entry["when"]:
        if word not in _WHEN:
            line = entry.line_of("when")
            reader.refuse("unknown_value", f"unknown value {word!r}", line, f"{place}.when", _WHEN)
    path: list[tuple[str, tuple[str, ...]]] = []
    for word, node in _pairs(reader, entry["path"], f"{place}.path"):
        following = reader.value(node, Rule(kind=Kind.TEXTS), f"{place}.path.{word}")
        path.append((word, tuple(following or ())))
    return CustomRule(
        name=name,
        entity=entry["entity"],
        effect=entry["then"] or "",
        on_create="create" in entry["when"],
        on_update="update" in entry["when"],
        condition=entry["if"],
        values=tuple(entry["values"].items()),
        path=tuple(path),
        **{one: entry[one] for one in _PLAIN_PARTS},
    )


_PLAIN_PARTS = ("field", "value", "message", "target", "help", "retired")


def _stated_rule(rule: CustomRule) -> dict[str, object]:
    """A rule as it stands in the file."""
    when = [word for word, on in zip(_WHEN, (rule.on_create, rule.on_update), strict=True) if on]
    stated: dict[str, object] = {
        "entity": rule.entity,
        "when": when if len(when) < len(_WHEN) else None,
        "if": rule.condition,
        "then": rule.effect,
        **{name: getattr(rule, name) for name in _PLAIN_PARTS},
        "values": dict(rule.values),
        "path": {word: list(following) for word, following in rule.path},
    }
    return {name: value for name, value in stated.items() if value}


def _pairs(reader: Reader, node: yaml.Node | None, place: str) -> Iterator[tuple[str, yaml.Node]]:
    """The members of a mapping with free names; each name once."""
    if node is None:
        return
    if not isinstance(node, yaml.MappingNode):
        reader.refuse("no_mapping", "must be a mapping of names", line_of(node), place)
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = str(key.value)
        if name in seen:
            reader.refuse("double_field", "stands here twice", line_of(key), f"{place}.{name}")
        else:
            yield name, value
        seen.add(name)


def _named(
    reader: Reader, node: yaml.Node | None, place: str, rules: Mapping[str, Rule]
) -> Iterator[tuple[str, Entry]]:
    for name, value in _pairs(reader, node, place):
        entry = reader.entry(value, rules, f"{place}.{name}")
        if entry is not None:
            yield name, entry


def write_change_set(name: str, model: CustomerModel) -> str:
    """The text of a change set with all these entities and fields."""
    content: dict[str, object] = {"change_set": name}
    if model.entities:
        content["entities"] = {one.name: _stated(one, ("name",)) for one in model.entities}
    of_owner: dict[str, dict[str, object]] = {}
    for one in model.fields:
        of_owner.setdefault(one.entity, {})[one.name] = _stated(one, ("entity", "name"))
    if of_owner:
        content["fields"] = of_owner
    if model.rules:
        content["rules"] = {one.name: _stated_rule(one) for one in model.rules}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _stated(one: CustomEntity | CustomField, names: tuple[str, ...]) -> dict[str, object]:
    """Everything that is not the default."""
    return {
        field.name: list(value) if isinstance(value, tuple) else value
        for field in fields(one)
        if field.name not in names and (value := getattr(one, field.name)) != field.default
    }
