"""Formulas over the fields of a record: what they may read, and whether they are right.

A formula reads the stored fields of its record by name, and those of the records it points to as
``account.x_region``: the reference's name without ``_id``, and the field.
"""

from collections.abc import Mapping
from dataclasses import replace

from counterfoil.core.formulas.formula import parse_formula
from counterfoil.core.formulas.vocabulary import (
    BOOLEAN,
    DATE,
    NAME,
    SCALE,
    TEXT,
    WHOLE,
    Kind,
    Type,
    Vocabulary,
    number,
)
from counterfoil.core.problems import Problem
from counterfoil.platform.metadata.entity import HEADER, Computation, Entity, Field, FieldType, Read

KINDS: dict[FieldType, Kind] = {
    FieldType.DECIMAL: Kind.NUMBER,
    FieldType.TEXT: Kind.TEXT,
    FieldType.BOOLEAN: Kind.BOOLEAN,
    FieldType.DATE: Kind.DATE,
}
"""What a formula has to yield for a field of a type."""


def formula_type(field: Field) -> Type | None:
    """The type of a field's values in formulas; None when a formula cannot hold them."""
    if field.secret or not field.stored:
        return None
    if field.type is FieldType.DECIMAL:
        fits = field.scale <= SCALE and field.precision - field.scale <= WHOLE
        return number(field.precision, field.scale) if fits else None
    return {
        FieldType.TEXT: TEXT,
        FieldType.CHOICE: TEXT,
        FieldType.INTEGER: number(19, 0),
        FieldType.REFERENCE: number(19, 0),
        FieldType.BOOLEAN: BOOLEAN,
        FieldType.DATE: DATE,
    }.get(field.type)


def reference_word(field: Field) -> str:
    """How a formula calls the record that a reference points to: ``account`` for account_id."""
    return field.name.removesuffix("_id")


def record_variables(
    entity: Entity, entities: Mapping[str, Entity]
) -> dict[str, tuple[Type, Read]]:
    """The names a formula over records of the entity may use: their types, and what they mean."""
    found: dict[str, tuple[Type, Read]] = {}
    for field in (*HEADER, *entity.fields):
        own = formula_type(field)
        if own is not None and NAME.fullmatch(field.name):
            found[field.name] = own, Read(field.name, field.name)
        target = entities.get(field.target) if field.type is FieldType.REFERENCE else None
        for far in target.fields if target else ():
            type_ = formula_type(far)
            name = f"{reference_word(field)}.{far.name}"
            if type_ is not None and target is not None and NAME.fullmatch(name):
                found[name] = type_, Read(name, field.name, target.name, far.name)
    return found


def parse_record_formula(
    text: str, returns: Kind, entity: Entity, entities: Mapping[str, Entity], place: str
) -> tuple[Computation | None, list[Problem]]:
    """A checked formula over records of the entity, or its problems at ``place``."""
    known = record_variables(entity, entities)
    vocabulary = Vocabulary({name: type_ for name, (type_, _) in known.items()})
    formula, problems = parse_formula(text, returns=returns, vocabulary=vocabulary, field=place)
    if formula is None:
        return None, problems
    return Computation(formula, tuple(known[ref.name][1] for ref in formula.references)), []


def computed_field(
    field: Field, entity: Entity, entities: Mapping[str, Entity]
) -> tuple[Field | None, list[Problem]]:
    """A computed field with its formula checked, or what speaks against it."""
    place = f"{entity.name}.{field.name}.formula"
    returns = KINDS[field.type]
    computation, problems = parse_record_formula(field.formula, returns, entity, entities, place)
    if computation is None:
        return None, problems
    return replace(field, computation=computation), []
