"""Fields as rooms declare them: one short line each, defaults silent."""

from typing import TypedDict, Unpack

from counterfoil.platform.metadata.entity import Field, FieldType


class Options(TypedDict, total=False):
    """What a declaration may add to a field's name and type; see :class:`Field`."""

    label: str
    help: str
    required: bool
    unique: bool
    indexed: bool
    immutable: bool
    computed: bool
    secret: bool
    minimum: int
    maximum: int
    max_length: int
    default: object


EXTERNAL_ID = Field(name="external_id", required=True, unique=True, immutable=True)
"""The name by which other systems, files and people know a record."""


def text(name: str, **options: Unpack[Options]) -> Field:
    """Text of at most 255 characters unless ``max_length`` says otherwise."""
    return Field(name=name, **options)


def integer(name: str, **options: Unpack[Options]) -> Field:
    """A whole number of 64 bits."""
    return Field(name=name, type=FieldType.INTEGER, **options)


def decimal(name: str, precision: int, scale: int, **options: Unpack[Options]) -> Field:
    """An exact number of ``precision`` digits, ``scale`` of them after the point."""
    return Field(name=name, type=FieldType.DECIMAL, precision=precision, scale=scale, **options)


def boolean(name: str, **options: Unpack[Options]) -> Field:
    """True or false."""
    return Field(name=name, type=FieldType.BOOLEAN, **options)


def date(name: str, **options: Unpack[Options]) -> Field:
    """A day without time or zone."""
    return Field(name=name, type=FieldType.DATE, **options)


def instant(name: str, **options: Unpack[Options]) -> Field:
    """A moment, kept in UTC."""
    return Field(name=name, type=FieldType.INSTANT, **options)


def choice(name: str, choices: tuple[str, ...], **options: Unpack[Options]) -> Field:
    """One of a closed set of words."""
    return Field(name=name, type=FieldType.CHOICE, choices=choices, **options)


def reference(
    target: str, *, name: str = "", on_delete: str = "restrict", **options: Unpack[Options]
) -> Field:
    """The id of a record of the entity ``target``; named ``<target>_id`` unless told."""
    return Field(
        name=name or f"{target}_id",
        type=FieldType.REFERENCE,
        target=target,
        on_delete=on_delete,
        **options,
    )


def document(name: str, **options: Unpack[Options]) -> Field:
    """A JSON object or array."""
    return Field(name=name, type=FieldType.DOCUMENT, **options)
