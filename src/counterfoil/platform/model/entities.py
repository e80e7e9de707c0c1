"""Declarations of change sets: the record of what was added to the data model, and of drafts."""

from counterfoil.platform.metadata.entity import Entity
from counterfoil.platform.metadata.fields import choice, document, instant, integer, text

LONGEST_CONTENT = 1_000_000

CHANGE_SET = Entity(
    name="change_set",
    apart=True,
    plural="change_sets",
    help="Additions to the data model: planned, applied at once or not at all, and kept.",
    created_by_command=True,
    indexes=(("status",),),
    fields=(
        text("name", required=True),
        choice("status", ("draft", "applied"), required=True),
        text("content", required=True, max_length=LONGEST_CONTENT, help="The file, in YAML."),
        document("steps", help="What was done, in words."),
        integer("version", help="The version of the catalogue from which on it holds."),
        instant("applied_at"),
    ),
)

ENTITIES = (CHANGE_SET,)
