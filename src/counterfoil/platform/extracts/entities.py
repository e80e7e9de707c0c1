"""Declarations of extracts."""

from counterfoil.platform.metadata.entity import Entity
from counterfoil.platform.metadata.fields import choice, document, instant, integer, reference, text

LONGEST_STATEMENT = 4000

EXTRACT = Entity(
    name="extract",
    apart=True,
    plural="extracts",
    help="A query whose result is kept until it is fetched, in batches.",
    created_by_command=True,
    history=False,
    fields=(
        text("name", required=True),
        choice("method", ("query", "retrieve"), required=True),
        text("statement", required=True, max_length=LONGEST_STATEMENT),
        text("entity", help="Of which entity whole records are retrieved."),
        document("columns", help="Which fields of them; empty: all."),
        choice("format", ("json", "csv"), required=True, default="json"),
        integer("records_per_batch", required=True, minimum=1, maximum=10_000, default=10_000),
        choice("status", ("pending", "complete", "failed"), required=True, default="pending"),
        integer("records", help="Of all batches."),
        text("message", max_length=2000, help="Why it failed."),
        text("requested_by", required=True, indexed=True, help="Only this user gets the result."),
        instant("finished_at"),
    ),
)

EXTRACT_BATCH = Entity(
    name="extract_batch",
    apart=True,
    plural="extract_batches",
    help="A part of an extract's result.",
    created_by_command=True,
    history=False,
    unique=(("extract_id", "position"),),
    fields=(
        reference("extract", required=True, on_delete="cascade"),
        integer("position", required=True, minimum=1),
        integer("records", required=True),
        text("sha256", required=True, max_length=64, help="Of the content, which lies in files."),
    ),
)

ENTITIES = (EXTRACT, EXTRACT_BATCH)
