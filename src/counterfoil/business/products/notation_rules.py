"""How a file's fields are read, from the declarations of the entities they become."""

from decimal import Decimal

from counterfoil.business.products.price_book_entries import NOTATION
from counterfoil.core.notation.located import Kind, Rule
from counterfoil.platform.metadata import Entity, FieldType

_KINDS = {
    FieldType.DECIMAL: Kind.DECIMAL,
    FieldType.INTEGER: Kind.INTEGER,
    FieldType.BOOLEAN: Kind.BOOLEAN,
    FieldType.DATE: Kind.DATE,
}


def rules_of(entity: Entity, *names: str) -> dict[str, Rule]:
    """Rules of the notation for some fields of an entity, from the entity's declaration."""
    rules: dict[str, Rule] = {}
    for name in names:
        field = entity.field(name)
        if field is None:
            raise LookupError(f"{entity.name} has no field {name}")
        default = field.default
        if field.type is FieldType.DECIMAL and default is not None:
            default = Decimal(str(default))
        rules[NOTATION.get(name, name)] = Rule(
            kind=_KINDS.get(field.type, Kind.TEXT),
            required=field.required and default is None,
            default=default,
            choices=field.choices,
            minimum=field.minimum,
            maximum=field.maximum,
            max_length=field.max_length if field.type is FieldType.TEXT else None,
            digits=field.precision,
            places=field.scale,
        )
    return rules
