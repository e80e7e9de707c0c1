"""Declaration of what rules have done."""

from counterfoil.platform.metadata.entity import Entity
from counterfoil.platform.metadata.fields import (
    boolean,
    choice,
    document,
    instant,
    integer,
    text,
)

RULE_FIRING = Entity(
    name="rule_firing",
    apart=True,
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

APPROVAL = Entity(
    name="approval",
    apart=True,
    plural="approvals",
    help="A new value of a field that waits, because a rule says so, until somebody decides.",
    created_by_command=True,
    indexes=(("entity", "record_id"), ("state",)),
    fields=(
        text("rule", required=True, immutable=True, max_length=48),
        text("entity", required=True, immutable=True, max_length=63),
        integer("record_id", required=True, immutable=True),
        text("field", required=True, immutable=True, max_length=63),
        document("requested", required=True, immutable=True, help="The new value, as value."),
        text("requested_by", required=True, immutable=True),
        choice("state", ("pending", "approved", "rejected"), required=True),
        boolean("applied", required=True, default=False, help="The field has got the value."),
        text("decided_by"),
        instant("decided_at"),
        text("comment", max_length=1000),
    ),
)

ENTITIES = (RULE_FIRING, APPROVAL)
