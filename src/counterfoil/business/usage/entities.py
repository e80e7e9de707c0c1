"""Declarations of the usage room. The events themselves are Parquet files, not rows (see store)."""

from counterfoil.business.usage.membership import LONGEST_FILTER
from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import (
    EXTERNAL_ID,
    boolean,
    choice,
    date,
    decimal,
    document,
    instant,
    integer,
    reference,
    text,
)

COLLECTOR = Entity(
    name="collector",
    plural="collectors",
    help="How the records of one source are read: format, field mapping, time zone, routing.",
    fields=(
        EXTERNAL_ID,
        text("name", required=True),
        document("definition", required=True),
    ),
)

USAGE_BATCH = Entity(
    name="usage_batch",
    plural="usage_batches",
    help="One import of a file, or one gathered group of events received over HTTP.",
    created_by_command=True,
    history=False,
    fields=(
        text(
            "batch_key",
            required=True,
            unique=True,
            immutable=True,
            help="Content hash of the file with its collector: a repeated file changes nothing.",
        ),
        reference("collector", required=True, indexed=True),
        text("file_name", max_length=1000),
        integer("records_read", required=True, default=0),
        integer("accepted", required=True, default=0),
        integer("duplicate", required=True, default=0),
        integer("rejected", required=True, default=0),
        integer(
            "first_segment", indexed=True, help="Number of the first usage segment it came in as."
        ),
    ),
)

USAGE_SEGMENT = Entity(
    name="usage_segment",
    plural="usage_segments",
    help="Manifest of the usage store: one immutable Parquet file of usage events.",
    created_by_command=True,
    history=False,
    fields=(
        text("path", required=True, unique=True, max_length=500, help="Below the store."),
        reference("usage_batch", indexed=True, name="batch_id"),
        choice(
            "state",
            ("fresh", "compacted", "replaced", "withdrawn"),
            required=True,
            indexed=True,
            help="fresh: as accepted; compacted: de-duplicated, one bucket and month; replaced: "
            "its events stand in a compacted segment now; withdrawn: its events no longer count.",
        ),
        integer("bucket", help="root_id % 16, of compacted segments."),
        date("month", help="UTC month, of compacted segments."),
        integer("events", required=True),
        instant("min_time", required=True),
        instant("max_time", required=True),
        boolean(
            "first_only",
            help="Whether it holds no event that stands in an earlier segment; empty until that "
            "was looked for.",
        ),
        # Technical, and nothing a person could read.
        text("subscription_filter", secret=True, computed=True, max_length=LONGEST_FILTER),
    ),
)

REJECTED_USAGE = Entity(
    name="rejected_usage",
    plural="rejected_usage",
    label="rejected usage record",
    help="A usage record that could not be accepted, with the reason; mend and re-run it.",
    created_by_command=True,
    history=False,
    indexes=(("batch_id", "reason"),),
    fields=(
        reference("usage_batch", required=True, name="batch_id"),
        reference("collector", required=True),
        integer("line", help="Record's line in its file, from 1."),
        text("reason", required=True, indexed=True, max_length=60),
        text("message", required=True, max_length=1000),
        document("record", required=True, help="The raw record: field name to text."),
        choice(
            "status", ("open", "accepted", "dismissed"), required=True, default="open", indexed=True
        ),
    ),
)

USAGE_CURSOR = Entity(
    name="usage_cursor",
    plural="usage_cursors",
    help="How far a watcher has seen the usage, as it arrives.",
    created_by_command=True,
    history=False,
    fields=(
        text("name", required=True, unique=True, max_length=60, help="The watcher's."),
        integer("last_segment", required=True, help="Highest usage segment it has seen."),
        boolean(
            "behind",
            required=True,
            help="Segments above are gone; their events stand in compacted ones.",
        ),
    ),
)

USAGE_CORRECTION = Entity(
    name="usage_correction",
    plural="usage_corrections",
    help="A usage event that was wrong: it is withdrawn for good, and may have another quantity "
    "under a new event id in its place.",
    created_by_command=True,
    history=False,
    unique=(("source", "event_id"),),
    fields=(
        text("source", required=True),
        text("event_id", required=True),
        decimal("quantity", 38, 15, help="Right quantity, in meter units; empty: nothing."),
        text("replacement_event_id", max_length=300, help="Id of the event with that quantity."),
        text("reason", max_length=1000),
        reference("usage_batch", required=True, indexed=True, name="batch_id"),
    ),
)

ENTITIES = (COLLECTOR, USAGE_BATCH, USAGE_SEGMENT, REJECTED_USAGE, USAGE_CURSOR, USAGE_CORRECTION)
