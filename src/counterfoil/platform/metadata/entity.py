"""The words in which the data model is declared: ``Entity`` and ``Field``, frozen values.

A room of ``business/`` declares its entities as data. The table, typed create and update,
REST, OpenAPI, SOAP and permissions follow from the declaration alone.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from counterfoil.core.formulas.formula import Formula

Record = dict[str, Any]
"""A row of an entity: field name to value (int, str, Decimal, bool, date, aware UTC datetime)."""

CUSTOM = "x_"
"""How every name begins that a customer adds, and no name of the system does."""


class FieldType(StrEnum):
    """The kinds of value a field may hold, and how PostgreSQL keeps them."""

    TEXT = "text"  # text
    INTEGER = "integer"  # bigint
    DECIMAL = "decimal"  # numeric(precision, scale)
    BOOLEAN = "boolean"  # boolean
    DATE = "date"  # date
    INSTANT = "instant"  # timestamptz; always an aware UTC datetime in Python
    CHOICE = "choice"  # text with a check constraint
    REFERENCE = "reference"  # bigint with a foreign key to the target entity's id
    DOCUMENT = "document"  # jsonb; dict or list of plain values
    MULTI_CHOICE = "multi_choice"  # text[]; list of distinct words in the order of the choices


@dataclass(frozen=True, slots=True)
class Read:
    """What a name in a formula means: the ``field`` of the record itself, or where there is a
    ``target``, the field ``far`` of the record of that entity to which the field points.
    ``old`` means the record as it was."""

    name: str
    field: str
    target: str = ""
    far: str = ""
    old: bool = False


@dataclass(frozen=True, slots=True)
class Computation:
    """A checked formula over records of one entity."""

    formula: Formula
    reads: tuple[Read, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of an entity.

    ``target`` names the entity a reference points to, ``choices`` the values of a choice.
    ``required`` means not null. ``immutable`` fields are set on create and never change;
    ``computed`` fields are written by commands only and refused from outside.
    ``on_delete`` of a reference is ``restrict``, ``set_null`` or ``cascade``. ``secret`` fields can
    be set and never be read again: no record, list, history or message shows their values.

    ``currency_field`` names the field with the currency of an amount; both have a value or neither.
    ``formula`` makes a field that is computed when it is read and kept nowhere; its ``type`` is
    that of the value, and ``computation`` is the formula as it was checked. ``on_invoice`` asks
    for the field to be told on invoices.
    """

    name: str
    type: FieldType = FieldType.TEXT
    label: str = ""
    help: str = ""
    required: bool = False
    unique: bool = False
    indexed: bool = False
    immutable: bool = False
    computed: bool = False
    secret: bool = False
    choices: tuple[str, ...] = ()
    target: str = ""
    on_delete: str = "restrict"
    precision: int = 18
    scale: int = 6
    minimum: int | None = None
    maximum: int | None = None
    max_length: int = 255
    default: object = None
    currency_field: str = ""
    formula: str = ""
    computation: Computation | None = field(default=None, compare=False, repr=False)
    on_invoice: bool = False

    @property
    def custom(self) -> bool:
        """Whether the customer added it; see :data:`CUSTOM`."""
        return self.name.startswith(CUSTOM)

    @property
    def stored(self) -> bool:
        """Whether there is a column for it."""
        return not self.formula


@dataclass(frozen=True, slots=True)
class RareIndex:
    """An index of the few records of which an SQL condition on their columns holds."""

    name: str
    field: str
    condition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One kind of record.

    Besides ``fields`` every entity has the header ``id`` (bigint, never reused), ``created_at``,
    ``updated_at`` (instants) and ``row_version`` (integer, from 1). ``unique`` lists unique
    combinations of fields; ``indexes`` further ones worth an index; ``rare_indexes`` lead to few
    records. ``created_by_command`` means that records of this entity are made by commands only (an
    invoice is never posted as a record): reading is generic, writing is not. ``history`` false
    leaves bulk documents, which are immutable anyway, out of the change history. ``label`` defaults
    to the name in words. ``apart`` are entities that say who may do what, set the organisation up,
    or hold copies of what other records say: a grant of all entities does not mean them.
    ``told_on_invoices`` says that invoices show those of its fields that ask for it.
    """

    name: str
    plural: str
    fields: tuple[Field, ...]
    label: str = ""
    help: str = ""
    unique: tuple[tuple[str, ...], ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    rare_indexes: tuple[RareIndex, ...] = ()
    created_by_command: bool = False
    history: bool = True
    told_on_invoices: bool = False
    apart: bool = False

    def field(self, name: str) -> Field | None:
        """The declared field of that name, header fields included, or None."""
        return next((field for field in (*HEADER, *self.fields) if field.name == name), None)

    @property
    def custom(self) -> bool:
        """Whether the customer added it."""
        return self.name.startswith(CUSTOM)

    @property
    def stored(self) -> tuple[Field, ...]:
        """The declared fields that have a column: all but those computed when read."""
        return tuple(field for field in self.fields if field.stored)

    @property
    def changeable(self) -> tuple[Field, ...]:
        """The fields that a change from outside may set.

        Records made by commands are theirs, but for what the customer added to them.
        """
        return tuple(
            field
            for field in self.fields
            if not (field.computed or field.immutable)
            and (field.custom or not self.created_by_command)
        )

    @property
    def readable(self) -> tuple[Field, ...]:
        """The fields a record shows, the header first: all but the secret ones."""
        return (*HEADER, *(field for field in self.fields if not field.secret))


HEADER: tuple[Field, ...] = (
    Field(name="id", type=FieldType.INTEGER, computed=True, required=True),
    Field(name="created_at", type=FieldType.INSTANT, computed=True, required=True),
    Field(name="updated_at", type=FieldType.INSTANT, computed=True, required=True),
    Field(name="row_version", type=FieldType.INTEGER, computed=True, required=True),
)
"""The fields every entity has."""
