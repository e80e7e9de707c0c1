"""Formulas over the fields of a record: what they may read, and whether they are right.

A formula reads the stored fields of its record by name, and those of the records it points to as
``account.x_region``: the reference's name without ``_id``, and the field.
"""

from collections.abc import Mapping

from counterfoil.core.formulas.formula import Formula, parse_formula
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
from counterfoil.platform.metadata.entity import HEADER, Entity, Field, FieldType

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


def record_variables(entity: Entity, entities: Mapping[str, Entity]) -> dict[str, Type]:
    """The names a formula over records of the entity may use, with their types."""
    found: dict[str, Type] = {}
    for field in (*HEADER, *entity.fields):
        own = formula_type(field)
        if own is not None and NAME.fullmatch(field.name):
            found[field.name] = own
        target = entities.get(field.target) if field.type is FieldType.REFERENCE else None
        for far in target.fields if target else ():
            type_ = formula_type(far)
            name = f"{reference_word(field)}.{far.name}"
            if type_ is not None and NAME.fullmatch(name):
                found[name] = type_
    return found


def parse_record_formula(
    text: str, returns: Kind, entity: Entity, entities: Mapping[str, Entity], place: str
) -> tuple[Formula | None, list[Problem]]:
    """A checked formula over records of the entity, or its problems at ``place``."""
    vocabulary = Vocabulary(record_variables(entity, entities))
    return parse_formula(text, returns=returns, vocabulary=vocabulary, field=place)


def find_formula_problem(
    field: Field, entity: Entity, entities: Mapping[str, Entity]
) -> list[Problem]:
    """What speaks against the formula of a computed field."""
    place = f"{entity.name}.{field.name}.formula"
    return parse_record_formula(field.formula, KINDS[field.type], entity, entities, place)[1]
