"""What a customer adds to the data model, as values: custom fields and custom entities.

Names of the customer begin with ``x_``, and no name of the system does: so an upgrade of the
program and a customer's additions never meet. Retired fields and entities keep their values and
are shown nowhere; they count for the limits, for their columns are still there.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Self, cast

from counterfoil.core.formulas.vocabulary import SCALE, WHOLE
from counterfoil.core.money.currencies import CURRENCIES
from counterfoil.platform.metadata.entity import Entity, Field, FieldType, Record
from counterfoil.platform.metadata.rules import CustomRule

LONGEST_NAME = 48
MOST_FIELDS = 400
MOST_ENTITIES = 200

STORED_FILE = "stored_file"
"""The entity that a field of kind ``file`` points to."""

CURRENCY = "_currency"
"""What is added to the name of an amount for the field that holds its currency."""


class FieldKind(StrEnum):
    """The kinds of custom fields, in the words of whoever adds them."""

    TEXT = "text"
    NUMBER = "number"  # whole
    DECIMAL = "decimal"
    MONEY = "money"  # an amount, and its currency in a field of its own
    DATE = "date"
    DATETIME = "datetime"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    MULTI_CHOICE = "multi_choice"
    LOOKUP = "lookup"
    MASTER_DETAIL = "master_detail"  # the record goes with the one it belongs to
    FORMULA = "formula"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomEntity:
    """An entity that the customer adds; its fields are custom fields of it."""

    name: str
    plural: str
    label: str = ""
    help: str = ""
    retired: bool = False

    @classmethod
    def of(cls, row: Record) -> Self:
        """From its row."""
        return cls(**_filled(cls, row))

    def row(self) -> Record:
        """As the row that keeps it."""
        return _without_blanks(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomField:
    """A field that the customer adds to an entity, the system's or an own one.

    ``digits`` and ``places`` are those of a decimal, in all and after the point. ``returns`` is
    what a formula yields. ``default`` is written as text.
    """

    entity: str
    name: str
    kind: str
    label: str = ""
    help: str = ""
    required: bool = False
    unique: bool = False
    indexed: bool = False
    choices: tuple[str, ...] = ()
    target: str = ""
    on_delete: str = "restrict"
    digits: int = 18
    places: int = 6
    minimum: int | None = None
    maximum: int | None = None
    max_length: int = 255
    default: str = ""
    formula: str = ""
    returns: str = ""
    on_invoice: bool = False
    retired: bool = False

    @classmethod
    def of(cls, row: Record) -> Self:
        """From its row."""
        values = _filled(cls, row)
        return cls(**{**values, "choices": tuple(cast("list[str]", values.get("choices", ())))})

    def row(self) -> Record:
        """As the row that keeps it."""
        return _without_blanks({**asdict(self), "choices": list(self.choices)})


def _without_blanks(row: Record) -> Record:
    return {name: None if value in ("", []) else value for name, value in row.items()}


def _filled(cls: type, row: Record) -> Record:
    """The values of a row that a value has; what is empty in a row has the default."""
    return {
        one.name: row[one.name] for one in fields(cls) if row.get(one.name) not in (None, "", [])
    }


@dataclass(frozen=True, slots=True)
class CustomerModel:
    """Everything a customer has added, retired parts included."""

    entities: tuple[CustomEntity, ...] = ()
    fields: tuple[CustomField, ...] = ()
    rules: tuple[CustomRule, ...] = ()

    def entity(self, name: str) -> CustomEntity | None:
        """The custom entity of that name, or None."""
        return next((one for one in self.entities if one.name == name), None)

    def field(self, entity: str, name: str) -> CustomField | None:
        """The custom field of that name of an entity, or None."""
        return next((one for one in self.fields if (one.entity, one.name) == (entity, name)), None)

    def rule(self, name: str) -> CustomRule | None:
        """The rule of that name, or None."""
        return next((one for one in self.rules if one.name == name), None)

    def updated(
        self,
        entities: Iterable[CustomEntity],
        fields: Iterable[CustomField],
        rules: Iterable[CustomRule] = (),
    ) -> Self:
        """With these in place of those of the same name, new ones at the end."""
        all_entities = {one.name: one for one in self.entities}
        all_entities |= {one.name: one for one in entities}
        all_fields = {(one.entity, one.name): one for one in self.fields}
        all_fields |= {(one.entity, one.name): one for one in fields}
        all_rules = {one.name: one for one in self.rules} | {one.name: one for one in rules}
        return replace(
            self,
            entities=tuple(all_entities.values()),
            fields=tuple(all_fields.values()),
            rules=tuple(all_rules.values()),
        )


HEAD: tuple[Field, ...] = (
    Field(name="external_id", unique=True, immutable=True, label="External id"),
    Field(name="name", label="Name"),
)
"""What every custom entity has besides the header and its custom fields."""


def entity_of(custom: CustomEntity) -> Entity:
    """The declaration of a custom entity, without its custom fields."""
    return Entity(
        name=custom.name,
        plural=custom.plural,
        label=custom.label,
        help=custom.help,
        fields=HEAD,
    )


def fields_of(custom: CustomField) -> tuple[Field, ...]:
    """The declared fields that a custom field stands for: an amount brings its currency."""
    plain = Field(
        name=custom.name,
        type=_TYPES.get(custom.kind, FieldType.TEXT),
        label=custom.label,
        help=custom.help,
        required=custom.required,
        unique=custom.unique,
        indexed=custom.indexed,
        choices=custom.choices,
        minimum=custom.minimum,
        maximum=custom.maximum,
        max_length=custom.max_length,
        precision=custom.digits,
        scale=custom.places,
        default=_default(custom),
        on_invoice=custom.on_invoice,
    )
    match custom.kind:
        case FieldKind.LOOKUP:
            return (replace(plain, target=custom.target, on_delete=custom.on_delete),)
        case FieldKind.MASTER_DETAIL:
            belongs = replace(plain, required=True, indexed=True)
            return (replace(belongs, target=custom.target, on_delete="cascade"),)
        case FieldKind.FILE:
            return (replace(plain, target=STORED_FILE),)
        case FieldKind.MONEY:
            currency = f"{custom.name}{CURRENCY}"
            amount = replace(plain, precision=20, scale=4, currency_field=currency)
            return (amount, _currency_of(custom, currency))
        case FieldKind.FORMULA:
            kind = _RETURNED.get(custom.returns, FieldType.TEXT)
            computed = replace(plain, type=kind, formula=custom.formula, computed=True)
            return (replace(computed, precision=WHOLE + SCALE, scale=SCALE),)
    return (plain,)


def _currency_of(custom: CustomField, name: str) -> Field:
    return Field(
        name=name,
        type=FieldType.CHOICE,
        choices=tuple(sorted(CURRENCIES)),
        label=f"{custom.label or custom.name} currency",
        help=f"ISO 4217 code of the currency of {custom.name}.",
        required=custom.required,
        on_invoice=custom.on_invoice,
    )


def _default(custom: CustomField) -> object:
    if not custom.default:
        return None
    if custom.kind == FieldKind.BOOLEAN:
        return custom.default == "true"
    if custom.kind == FieldKind.NUMBER:
        return int(custom.default) if custom.default.removeprefix("-").isdecimal() else None
    return custom.default


_TYPES: dict[str, FieldType] = {
    FieldKind.TEXT: FieldType.TEXT,
    FieldKind.NUMBER: FieldType.INTEGER,
    FieldKind.DECIMAL: FieldType.DECIMAL,
    FieldKind.MONEY: FieldType.DECIMAL,
    FieldKind.DATE: FieldType.DATE,
    FieldKind.DATETIME: FieldType.INSTANT,
    FieldKind.BOOLEAN: FieldType.BOOLEAN,
    FieldKind.CHOICE: FieldType.CHOICE,
    FieldKind.MULTI_CHOICE: FieldType.MULTI_CHOICE,
    FieldKind.LOOKUP: FieldType.REFERENCE,
    FieldKind.MASTER_DETAIL: FieldType.REFERENCE,
    FieldKind.FILE: FieldType.REFERENCE,
}

_RETURNED: dict[str, FieldType] = {
    "number": FieldType.DECIMAL,
    "text": FieldType.TEXT,
    "boolean": FieldType.BOOLEAN,
    "date": FieldType.DATE,
}

RETURNED = tuple(_RETURNED)
"""What a formula may yield."""
