"""The rows that keep what a customer adds to the data model."""

from counterfoil.platform.metadata.customer import LONGEST_NAME, FieldKind
from counterfoil.platform.metadata.entity import Entity
from counterfoil.platform.metadata.fields import boolean, choice, document, integer, text
from counterfoil.platform.metadata.rules import Effect

CUSTOM_ENTITY = Entity(
    name="custom_entity",
    apart=True,
    plural="custom_entities",
    help="An entity that was added to the data model by a change set.",
    created_by_command=True,
    fields=(
        text("name", required=True, unique=True, immutable=True, max_length=LONGEST_NAME),
        text("plural", required=True, unique=True, immutable=True, max_length=LONGEST_NAME),
        text("label"),
        text("help", max_length=2000),
        boolean("retired", required=True, help="Shown nowhere; its records are kept."),
    ),
)

CUSTOM_FIELD = Entity(
    name="custom_field",
    apart=True,
    plural="custom_fields",
    help="A field that was added to an entity by a change set.",
    created_by_command=True,
    unique=(("entity", "name"),),
    fields=(
        text("entity", required=True, immutable=True, max_length=63),
        text("name", required=True, immutable=True, max_length=LONGEST_NAME),
        choice("kind", tuple(kind.value for kind in FieldKind), required=True, immutable=True),
        text("label"),
        text("help", max_length=2000),
        boolean("required", required=True),
        boolean("unique", required=True),
        boolean("indexed", required=True),
        document("choices", help="Of a choice: its words."),
        text("target", help="Of a lookup or master-detail: the entity it points to."),
        text("on_delete", help="Of a lookup: restrict, or set_null when the target is deleted."),
        integer("digits", help="Of a decimal: digits in all."),
        integer("places", help="Of a decimal: digits after the point."),
        integer("minimum"),
        integer("maximum"),
        integer("max_length"),
        text("default", help="The value of new records, as text."),
        text("formula", max_length=4000),
        text("returns", help="What a formula yields."),
        boolean("on_invoice", required=True, help="Told on invoices."),
        boolean("retired", required=True, help="Shown nowhere; its values are kept."),
    ),
)

RULE = Entity(
    name="rule",
    apart=True,
    plural="rules",
    help="What must hold for records, or follows when they are written; added by a change set.",
    created_by_command=True,
    fields=(
        text("name", required=True, unique=True, immutable=True, max_length=LONGEST_NAME),
        text("entity", required=True, immutable=True, max_length=63),
        choice("effect", tuple(effect.value for effect in Effect), required=True, immutable=True),
        boolean("on_create", required=True),
        boolean("on_update", required=True),
        text("condition", max_length=4000),
        text("field", max_length=63),
        text("value", max_length=4000, help="The formula of the field's value."),
        text("message", max_length=1000),
        text(
            "target",
            max_length=63,
            help="The entity of the record that is created, or the kind of job.",
        ),
        document("values", help="Pairs of a name and its formula."),
        document("path", help="Pairs of a value and those that may follow it."),
        text("help", max_length=2000),
        boolean("retired", required=True, help="Does nothing any more."),
    ),
)

ENTITIES = (CUSTOM_ENTITY, CUSTOM_FIELD, RULE)
