"""What speaks against a customer's additions to the data model; pure, all problems at once."""

import re
from collections.abc import Iterator, Mapping

from counterfoil.core.problems import Problem
from counterfoil.platform.metadata.customer import (
    CURRENCY,
    LONGEST_NAME,
    MOST_ENTITIES,
    MOST_FIELDS,
    RETURNED,
    CustomEntity,
    CustomerModel,
    CustomField,
    FieldKind,
    fields_of,
)
from counterfoil.platform.metadata.entity import CUSTOM, Entity, Field
from counterfoil.platform.metadata.rules import NOT_RULED
from counterfoil.platform.metadata.validation import read_value

_NAME = re.compile(rf"{CUSTOM}[a-z0-9]+(_[a-z0-9]+)*", re.ASCII)
_LARGEST_BOUND = 10**15
_LONGEST_TEXT = 1_000_000
_NOT_TOLD = (FieldKind.LOOKUP, FieldKind.MASTER_DETAIL, FieldKind.FILE)
_UNINDEXED = (FieldKind.FORMULA, FieldKind.MULTI_CHOICE)

NOT_EXTENDED = NOT_RULED
"""Entities of the model itself: they hold the customer's fields, they do not get any."""


def find_entity_problems(
    model: CustomerModel, system: Mapping[str, Entity]
) -> Iterator[tuple[CustomEntity, Problem]]:
    """What is wrong with the custom entities, each with its entity."""
    plurals = {entity.plural for entity in system.values()}
    for number, custom in enumerate(model.entities, start=1):
        yield from ((custom, problem) for problem in _name_problems(custom.name, custom.name))
        if f"_{CUSTOM}" in custom.name or custom.name.endswith("_id_seq"):
            message = f"{custom.name!r}: tables may be called so that belong to another entity"
            yield custom, Problem("bad_name", message, custom.name)
        for problem in _name_problems(custom.plural, f"{custom.name}.plural"):
            yield custom, problem
        if custom.plural in plurals:
            message = f"another entity is called {custom.plural} already"
            yield custom, Problem("double_name", message, f"{custom.name}.plural")
        plurals.add(custom.plural)
        if number > MOST_ENTITIES:
            message = f"there are {MOST_ENTITIES} custom entities at most, retired ones included"
            yield custom, Problem("too_many_entities", message, custom.name)


def find_field_problems(
    model: CustomerModel, known: Mapping[str, Entity]
) -> Iterator[tuple[CustomField, Problem]]:
    """What is wrong with the custom fields, each with its field.

    ``known`` are the system's entities and the customer's that are right.
    """
    counts: dict[str, int] = {}
    names = {(one.entity, one.name) for one in model.fields}
    for custom in model.fields:
        counts[custom.entity] = counts.get(custom.entity, 0) + 1
        owner = model.entity(custom.entity)
        hidden = custom.retired or (owner is not None and owner.retired)
        found = [] if hidden else list(_problems_of(custom, known))
        place = f"{custom.entity}.{custom.name}"
        if counts[custom.entity] > MOST_FIELDS:
            message = f"an entity has {MOST_FIELDS} custom fields at most, retired ones included"
            found.append(Problem("too_many_fields", message, place))
        if custom.kind == FieldKind.MONEY and (custom.entity, custom.name + CURRENCY) in names:
            message = f"{custom.name + CURRENCY} holds the currency of {custom.name}"
            found.append(Problem("double_name", message, place))
        yield from ((custom, problem) for problem in found)


def _name_problems(name: str, place: str) -> Iterator[Problem]:
    if not name.startswith(CUSTOM):
        message = f"{name!r} has to begin with {CUSTOM}, as all names that are added do"
        yield Problem("bad_name", message, place)
    elif not _NAME.fullmatch(name):
        message = f"{name!r} may hold small letters, digits and single underscores only"
        yield Problem("bad_name", message, place)
    if len(name) > LONGEST_NAME:
        message = f"{name!r} has {len(name)} letters; {LONGEST_NAME} are possible"
        yield Problem("name_too_long", message, place)


def _problems_of(custom: CustomField, known: Mapping[str, Entity]) -> Iterator[Problem]:
    place = f"{custom.entity}.{custom.name}"
    brings_currency = custom.kind == FieldKind.MONEY
    yield from _name_problems(custom.name + (CURRENCY if brings_currency else ""), place)
    entity = known.get(custom.entity)
    if custom.entity in NOT_EXTENDED or entity is None:
        message = f"there is no entity {custom.entity!r} that fields can be added to"
        yield Problem("unknown_entity", message, place)
    elif custom.on_invoice and not entity.told_on_invoices:
        message = f"invoices tell nothing of {entity.plural}"
        told = tuple(one.name for one in known.values() if one.told_on_invoices)
        yield Problem("unwelcome_option", message, f"{place}.on_invoice", told)
    elif entity.created_by_command and custom.required:
        message = f"records of {entity.plural} are made by commands, which do not know the field"
        yield Problem("cannot_be_required", message, f"{place}.required")
    if custom.kind not in tuple(FieldKind):
        yield Problem("unknown_kind", f"{custom.kind!r} is no kind", f"{place}.kind", KINDS)
        return
    yield from _choice_problems(custom, place)
    yield from _reference_problems(custom, known, place)
    yield from _bound_problems(custom, place)
    yield from _option_problems(custom, place)
    if not custom.formula or custom.kind != FieldKind.FORMULA:
        yield from _default_problems(custom, fields_of(custom)[0], place)


KINDS = tuple(kind.value for kind in FieldKind)


def _choice_problems(custom: CustomField, place: str) -> Iterator[Problem]:
    takes = custom.kind in (FieldKind.CHOICE, FieldKind.MULTI_CHOICE)
    if takes and not custom.choices:
        yield Problem("no_choices", "a choice needs its choices", f"{place}.choices")
    if not takes and custom.choices:
        message = f"a field of kind {custom.kind} has no choices"
        yield Problem("unwelcome_option", message, f"{place}.choices")
    if len(set(custom.choices)) != len(custom.choices):
        yield Problem("double_choice", "the same choice stands here twice", f"{place}.choices")
    for word in custom.choices:
        # Lists in a query string are separated by commas.
        if not word.strip() or len(word) > 100 or not word.isprintable() or "," in word:
            message = f"{word!r} has to be 1 to 100 printable characters without a comma"
            yield Problem("bad_choice", message, f"{place}.choices")


def _reference_problems(
    custom: CustomField, known: Mapping[str, Entity], place: str
) -> Iterator[Problem]:
    refers = custom.kind in (FieldKind.LOOKUP, FieldKind.MASTER_DETAIL)
    if refers and custom.target not in known:
        message = f"refers to {custom.target!r}, which is no entity"
        yield Problem("unknown_target", message, f"{place}.target")
    if not refers and custom.target:
        message = f"a field of kind {custom.kind} has no target"
        yield Problem("unwelcome_option", message, f"{place}.target")
    if custom.on_delete not in ("restrict", "set_null"):
        message = f"{custom.on_delete!r} is not possible"
        yield Problem("bad_option", message, f"{place}.on_delete", ("restrict", "set_null"))
    elif custom.on_delete == "set_null" and (custom.required or custom.kind != FieldKind.LOOKUP):
        message = "is for a lookup that may be empty"
        yield Problem("unwelcome_option", message, f"{place}.on_delete")
    detail_of_itself = custom.kind == FieldKind.MASTER_DETAIL and custom.target == custom.entity
    if detail_of_itself or (
        custom.kind == FieldKind.MASTER_DETAIL and not custom.entity.startswith(CUSTOM)
    ):
        message = "only records of a custom entity belong to those of another entity"
        yield Problem("unwelcome_option", message, f"{place}.kind")


def _bound_problems(custom: CustomField, place: str) -> Iterator[Problem]:
    if not (1 <= custom.digits <= 38 and 0 <= custom.places <= min(15, custom.digits)):
        message = "a decimal has 1 to 38 digits, 0 to 15 of them after the point"
        yield Problem("bad_digits", message, f"{place}.digits")
    if not 1 <= custom.max_length <= _LONGEST_TEXT:
        message = f"has to be from 1 to {_LONGEST_TEXT:,}"
        yield Problem("bad_option", message, f"{place}.max_length")
    bounds = [bound for bound in (custom.minimum, custom.maximum) if bound is not None]
    numeric = (FieldKind.NUMBER, FieldKind.DECIMAL, FieldKind.MONEY)
    if bounds and custom.kind not in numeric:
        message = f"a field of kind {custom.kind} has no bounds"
        yield Problem("unwelcome_option", message, f"{place}.minimum")
    if any(abs(bound) > _LARGEST_BOUND for bound in bounds) or bounds != sorted(bounds):
        message = f"the bounds have to be in order and within {_LARGEST_BOUND:,}"
        yield Problem("bad_option", message, f"{place}.minimum")


def _option_problems(custom: CustomField, place: str) -> Iterator[Problem]:
    is_formula = custom.kind == FieldKind.FORMULA
    if is_formula != bool(custom.formula):
        message = "a formula field needs its formula, and no other has one"
        yield Problem("bad_option", message, f"{place}.formula")
    if is_formula != bool(custom.returns) or (is_formula and custom.returns not in RETURNED):
        message = "says what a formula yields"
        yield Problem("bad_option", message, f"{place}.returns", RETURNED)
    if custom.kind in _UNINDEXED and (custom.unique or custom.indexed):
        message = f"a field of kind {custom.kind} has no index"
        yield Problem("unwelcome_option", message, f"{place}.unique")
    if custom.on_invoice and custom.kind in _NOT_TOLD:
        message = f"a field of kind {custom.kind} is not told on invoices"
        yield Problem("unwelcome_option", message, f"{place}.on_invoice")
    if is_formula and (custom.required or custom.default):
        yield Problem("unwelcome_option", "a formula is not entered", f"{place}.required")


_WITH_DEFAULT = frozenset(
    {
        FieldKind.TEXT,
        FieldKind.NUMBER,
        FieldKind.DECIMAL,
        FieldKind.DATE,
        FieldKind.BOOLEAN,
        FieldKind.CHOICE,
    }
)


def _default_problems(custom: CustomField, field: Field, place: str) -> Iterator[Problem]:
    if not custom.default:
        return
    if custom.kind not in _WITH_DEFAULT:
        message = f"a field of kind {custom.kind} has no default"
        yield Problem("unwelcome_option", message, f"{place}.default")
        return
    try:
        read_value(field, custom.default)
    except ValueError as wrong:
        yield Problem("bad_default", f"the default {custom.default!r} {wrong}", f"{place}.default")
