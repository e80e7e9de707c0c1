"""Declaration of what rules have done."""

from counterfoil.platform.metadata.entity import Entity
from counterfoil.platform.metadata.fields import document, integer, text

RULE_FIRING = Entity(
    name="rule_firing",
    plural="rule_firings",
    help="Something that a rule has done with a record, or because of it.",
    created_by_command=True,
    history=False,
    indexes=(("entity", "record_id"), ("rule",)),
    fields=(
        text("rule", required=True, max_length=48),
        text("entity", required=True, max_length=63),
        integer("record_id", required=True, help="The record that was written."),
        text("effect", required=True, max_length=20),
        document("details", help="The field and its value, or the ids of what was created."),
    ),
)

ENTITIES = (RULE_FIRING,)
