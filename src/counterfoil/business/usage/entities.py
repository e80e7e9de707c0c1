"""Declarations of the usage room. The events themselves are Parquet files, not rows (see store)."""

from counterfoil.platform.metadata import Entity, Field, FieldType

COLLECTOR = Entity(
    name="collector",
    plural="collectors",
    help="How the records of one source are read: format, field mapping, time zone, routing.",
    fields=(
        Field(name="external_id", required=True, unique=True, immutable=True),
        Field(name="name", required=True),
        Field(name="definition", type=FieldType.DOCUMENT, required=True),
    ),
)

USAGE_BATCH = Entity(
    name="usage_batch",
    plural="usage_batches",
    help="One import of a file, or one gathered group of events received over HTTP.",
    created_by_command=True,
    history=False,
    fields=(
        Field(
            name="batch_key",
            required=True,
            unique=True,
            immutable=True,
            help="Content hash of the file with its collector: a repeated file changes nothing.",
        ),
        Field(
            name="collector_id",
            type=FieldType.REFERENCE,
            target="collector",
            required=True,
            indexed=True,
        ),
        Field(name="file_name", max_length=1000),
        Field(name="records_read", type=FieldType.INTEGER, required=True, default=0),
        Field(name="accepted", type=FieldType.INTEGER, required=True, default=0),
        Field(name="duplicate", type=FieldType.INTEGER, required=True, default=0),
        Field(name="rejected", type=FieldType.INTEGER, required=True, default=0),
    ),
)

USAGE_SEGMENT = Entity(
    name="usage_segment",
    plural="usage_segments",
    help="Manifest of the usage store: one immutable Parquet file of usage events.",
    created_by_command=True,
    history=False,
    fields=(
        Field(name="path", required=True, unique=True, max_length=500, help="Below the store."),
        Field(name="batch_id", type=FieldType.REFERENCE, target="usage_batch", indexed=True),
        Field(
            name="state",
            type=FieldType.CHOICE,
            choices=("fresh", "compacted", "replaced"),
            required=True,
            indexed=True,
            help="fresh: as accepted; compacted: de-duplicated, one bucket and month; replaced: "
            "its events stand in a compacted segment now.",
        ),
        Field(name="bucket", type=FieldType.INTEGER, help="root_id % 16, of compacted segments."),
        Field(name="month", type=FieldType.DATE, help="UTC month, of compacted segments."),
        Field(name="events", type=FieldType.INTEGER, required=True),
        Field(name="min_time", type=FieldType.INSTANT, required=True),
        Field(name="max_time", type=FieldType.INSTANT, required=True),
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
        Field(name="batch_id", type=FieldType.REFERENCE, target="usage_batch", required=True),
        Field(name="collector_id", type=FieldType.REFERENCE, target="collector", required=True),
        Field(name="line", type=FieldType.INTEGER, help="Record's line in its file, from 1."),
        Field(name="reason", required=True, indexed=True, max_length=60),
        Field(name="message", required=True, max_length=1000),
        Field(
            name="record",
            type=FieldType.DOCUMENT,
            required=True,
            help="The raw record: field name to text.",
        ),
        Field(
            name="status",
            type=FieldType.CHOICE,
            choices=("open", "accepted", "dismissed"),
            required=True,
            default="open",
            indexed=True,
        ),
    ),
)

ENTITIES = (COLLECTOR, USAGE_BATCH, USAGE_SEGMENT, REJECTED_USAGE)
