"""Declaration of stored files."""

from counterfoil.platform.metadata.customer import STORED_FILE
from counterfoil.platform.metadata.entity import Entity
from counterfoil.platform.metadata.fields import integer, text

STORED_FILES = Entity(
    name=STORED_FILE,
    apart=True,
    plural="stored_files",
    help="A file in the data folder that records point to; found by its content.",
    created_by_command=True,
    fields=(
        text("name", required=True, immutable=True),
        text("media_type", required=True, immutable=True),
        integer("size", required=True, immutable=True, minimum=0, help="Bytes."),
        text(
            "sha256",
            required=True,
            immutable=True,
            indexed=True,
            max_length=64,
            help="Of the content, in hexadecimal digits; where it lies follows from it.",
        ),
    ),
)

ENTITIES = (STORED_FILES,)
