"""Usage events as immutable Parquet files, with a manifest in PostgreSQL.

A file counts from the commit of its ``usage_segment`` row. Ids are given under a lock that is
held until the commit, so that the order of ids is the order in which segments became visible:
of two events with the same (source, event id) the one in the lower segment is the event.
"""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterfoil.business.usage.membership import Members, holding
from counterfoil.platform.engine.duck import sql_literal
from counterfoil.platform.files.store import sync
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

EVENT_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("event_id", pa.string()),
        ("time", pa.timestamp("us")),
        ("subscription_id", pa.int64()),
        ("meter_id", pa.int64()),
        ("quantity", pa.decimal128(38, 15)),
        ("batch_id", pa.int64()),
        ("line", pa.int64()),
        ("attributes", pa.string()),
    ]
)
"""The columns of an event as it is accepted; ``time`` is UTC."""

SEGMENT_SCHEMA = EVENT_SCHEMA.append(pa.field("millionths", pa.int64()))
"""The columns of a segment: ``millionths`` is the quantity once more, as a whole number of
millionths; null where it has more decimals or more than twelve digits before the point."""

COLUMNS = ", ".join(SEGMENT_SCHEMA.names)
"""The columns of a segment as a SELECT list."""

LARGEST_SEGMENT = 1_000_000
"""Events in one file, at most."""

BUCKETS = 16
"""Events of one account tree share a bucket: ``root_id % BUCKETS``."""

ROWS_PER_GROUP = 122_880

FOLDERS = ("incoming", "fresh", "compacted", "withdrawn")
"""Where files stand: those being written, and segments by their state."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A written file that is not in the manifest yet; ``path`` is absolute, times naive UTC.

    ``subscription_filter`` says whose events it may hold; see :mod:`membership`.
    """

    path: Path
    events: int
    min_time: datetime
    max_time: datetime
    subscription_filter: str | None = None
    bucket: int | None = None
    month: datetime | None = None


class UsageStore:
    """The folder of the event files; any number of processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # What customers used is nobody else's business on this machine.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in FOLDERS:
            (folder / name).mkdir(exist_ok=True)

    def paths(self, segments: Sequence[Record]) -> list[Path]:
        """The absolute paths of segments of the manifest."""
        return [self.folder / str(segment["path"]) for segment in segments]

    def incoming_path(self) -> Path:
        """A path for a file that is still being written."""
        return self.folder / "incoming" / f"{uuid.uuid4().hex}.parquet"

    @contextmanager
    def writing(self) -> Iterator["SegmentWriter"]:
        """Write events to files; they are removed again unless the caller keeps them.

        The files stay when the block ends without an exception; add them to the manifest by
        :meth:`publish` in the transaction that accepts them.
        """
        writer = SegmentWriter(self)
        try:
            yield writer
            writer.finish()
        except BaseException:
            writer.discard()
            raise

    def publish(
        self,
        uow: UnitOfWork,
        files: Sequence[Incoming],
        *,
        batch_id: int | None,
        state: str = "fresh",
        first_only: bool | None = None,
    ) -> list[int]:
        """Rename the files into place and add them to the manifest; their segment ids.

        ``first_only``: whether they are known to repeat no earlier event, or to repeat some; None
        leaves that to :mod:`repeats`.

        They become visible with the commit of the unit of work, which should follow at once:
        until then no other one can publish. After a crash before it the files are orphans that
        nobody reads.
        """
        if not files:
            return []
        lock_publishing(uow)
        ids = uow.allocate_ids("usage_segment", len(files))
        rows: list[Record] = []
        for segment_id, file in zip(ids, files, strict=True):
            name = f"{state}/{segment_id:012d}.parquet"
            file.path.rename(self.folder / name)
            rows.append(
                {
                    "id": segment_id,
                    "path": name,
                    "batch_id": batch_id,
                    "state": state,
                    "bucket": file.bucket,
                    "month": file.month.date() if file.month else None,
                    "events": file.events,
                    "min_time": file.min_time.replace(tzinfo=UTC),
                    "max_time": file.max_time.replace(tzinfo=UTC),
                    "first_only": True if state == "compacted" else first_only,
                    # Compacted segments are picked by bucket, withdrawn ones are all read.
                    "subscription_filter": file.subscription_filter if state == "fresh" else None,
                }
            )
        _sync_folder(self.folder / state)
        uow.copy_in("usage_segment", pa.Table.from_pylist(rows, schema=_MANIFEST))
        if batch_id is not None:
            uow.execute(_FIRST_SEGMENT, batch=batch_id, segment=ids[0])
        return ids


def count_beside(uow: UnitOfWork, files: Sequence[Incoming]) -> None:
    """Let files count from where they lie, outside of the store: for what is undone in the end.

    Nobody waits for it, and nobody else sees it.
    """
    ids = uow.allocate_ids("usage_segment", len(files))
    rows = [
        {
            "id": segment_id,
            "path": str(file.path),
            "state": "fresh",
            "events": file.events,
            "min_time": file.min_time.replace(tzinfo=UTC),
            "max_time": file.max_time.replace(tzinfo=UTC),
            "first_only": True,
            "subscription_filter": file.subscription_filter,
        }
        for segment_id, file in zip(ids, files, strict=True)
    ]
    uow.copy_in("usage_segment", pa.Table.from_pylist(rows, schema=_MANIFEST))


# Segments are numbered in the order in which they become visible, batches are not.
_FIRST_SEGMENT = """
UPDATE usage_batch SET first_segment = :segment WHERE id = :batch AND first_segment IS NULL
"""


class SegmentWriter:
    """Appends tables of events to files of bounded size; see :meth:`UsageStore.writing`."""

    def __init__(self, store: UsageStore) -> None:
        self._store = store
        self._open: _OpenFile | None = None
        self.files: list[Incoming] = []

    def append(self, events: pa.Table) -> None:
        """Add events, in the order in which the first of equal ones wins."""
        events = events.select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA)
        events = events.append_column("millionths", in_millionths(events["quantity"]))
        while events.num_rows:
            if self._open is None:
                self._open = _OpenFile(self._store.incoming_path())
            room = LARGEST_SEGMENT - self._open.events
            self._open.append(events.slice(0, room))
            events = events.slice(room)
            if self._open.events >= LARGEST_SEGMENT:
                self.finish()

    def finish(self) -> None:
        """Make the file that is being written durable."""
        if self._open is not None:
            file, self._open = self._open, None
            self.files.append(file.close())

    def discard(self) -> None:
        """Remove all files that were written and not yet published."""
        if self._open is not None:
            self._open.abandon()
        for file in self.files:
            file.path.unlink(missing_ok=True)


class _OpenFile:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.events = 0
        self._times: list[tuple[datetime, datetime]] = []
        self._members = Members()
        self._writer = pq.ParquetWriter(
            path, SEGMENT_SCHEMA, compression="zstd", store_schema=False, write_page_index=False
        )

    def append(self, events: pa.Table) -> None:
        self._writer.write_table(events, row_group_size=ROWS_PER_GROUP)
        self.events += events.num_rows
        self._members.add(events["subscription_id"])
        bounds = pc.min_max(events["time"]).as_py()
        self._times.append((bounds["min"], bounds["max"]))

    def close(self) -> Incoming:
        self._writer.close()
        sync(self.path)
        first, last = min(low for low, _ in self._times), max(high for _, high in self._times)
        return Incoming(self.path, self.events, first, last, self._members.filter())

    def abandon(self) -> None:
        self._writer.close()
        self.path.unlink(missing_ok=True)


def in_millionths(quantities: pa.ChunkedArray) -> pa.ChunkedArray:
    """The quantities as ``millionths`` of SEGMENT_SCHEMA: numbers of 64 bits, which are divided
    twenty times as fast as those of 128."""
    try:
        narrow = pc.cast(quantities, _NARROW)
    except pa.ArrowInvalid:
        fits = pc.and_(
            pc.equal(pc.round(quantities, 6, round_mode="towards_zero"), quantities),
            pc.less(pc.abs(quantities), _TOO_LARGE),
        )
        narrow = pc.cast(pc.if_else(fits, quantities, None), _NARROW)
    # The same digits without their point.
    counts = [pc.cast(chunk.view(_DIGITS), pa.int64()) for chunk in narrow.chunks]
    return pa.chunked_array(counts, pa.int64())


_NARROW = pa.decimal128(18, 6)
_DIGITS = pa.decimal128(18, 0)
_TOO_LARGE = pa.scalar(Decimal(10**12), pa.decimal128(38, 15))


def lock_publishing(uow: UnitOfWork) -> None:
    """Wait until no other unit of work is between publishing segments and its commit."""
    uow.query("SELECT pg_advisory_xact_lock(hashtextextended('publish usage segments', 0))")


def save_events(uow: UnitOfWork, store: UsageStore, events: pa.Table, batch_id: int) -> list[int]:
    """Store ready events (see ``EVENT_SCHEMA``) as segments of a batch; their segment ids."""
    with store.writing() as writer:
        writer.append(events)
    return store.publish(uow, writer.files, batch_id=batch_id)


def usage_relation(
    manifest: "Manifest",
    store: UsageStore,
    *,
    buckets: Sequence[int] | None,
    from_time: datetime,
    to_time: datetime,
    subscriptions: Sequence[int] | None = None,
) -> str:
    """A SELECT for the engine: the manifest's events with from_time <= time < to_time, each once.

    Columns are those of ``SEGMENT_SCHEMA``. With ``buckets`` only compacted files of these buckets
    are read; what is not compacted yet is not bucketed, so events of other buckets may be among
    the result: join it with the subscriptions that are wanted.
    """
    chosen = f"time >= {timestamp(from_time)} AND time < {timestamp(to_time)}"
    if subscriptions is not None:
        chosen += f" AND {subscriptions_among(subscriptions)}"
    if manifest.batches is not None:
        chosen += f" AND {manifest.batches}"
    wanted = [
        row
        for row in manifest.compacted
        if _overlaps(row, from_time, to_time) and (buckets is None or row["bucket"] in buckets)
    ]
    near = [row for row in manifest.fresh if _overlaps(row, from_time, to_time)]
    if subscriptions is not None:
        # What is left out has no event that is chosen; as earlier segments with which those that
        # are chosen are compared all fresh ones stay.
        near = holding(near, subscriptions)
    wanted += [row for row in near if row["first_only"]]
    doubtful = [row for row in near if not row["first_only"]]
    parts = []
    if wanted:
        parts.append(f"SELECT {COLUMNS} FROM {parquet(store.paths(wanted))} WHERE {chosen}")
    if doubtful:
        few = subscriptions is not None
        parts.append(_first_ones(store, manifest, doubtful, chosen, few=few))
    if not parts:
        return _no_events()
    events = "\nUNION ALL\n".join(parts)
    withdrawn = [row for row in manifest.withdrawn if _overlaps(row, from_time, to_time)]
    if not withdrawn:
        return events
    # A withdrawn event is named with its own time, so only files that overlap can name it.
    return (
        f"SELECT {COLUMNS} FROM ({events}) e WHERE NOT EXISTS (SELECT 1 FROM "
        f"{parquet(store.paths(withdrawn))} w "
        "WHERE w.source = e.source AND w.event_id = e.event_id)"
    )


def later_duplicates(
    files: Sequence[Path], earlier: Sequence[Path], *, sought: str | None = None
) -> str:
    """SELECT of (filename, file_row_number) of rows of ``files`` whose event stands before them.

    That is in a file of ``earlier``, in a file of ``files`` with a lower name, or in an earlier
    row. Names of segments are padded, so that they sort as ids do. Only the two key columns are
    read. ``sought`` names a relation whose events alone are looked for.
    """
    keys = (
        f"SELECT source, event_id, filename, file_row_number FROM {parquet(files, numbered=True)}"
    )
    if sought is not None:
        keys += f" WHERE (source, event_id) IN (SELECT (source, event_id) FROM {sought})"
    repeated = (
        "SELECT source, event_id, min((filename, file_row_number)) AS first "
        f"FROM ({keys}) GROUP BY source, event_id HAVING count(*) > 1"
    )
    later = (
        f"SELECT k.filename, k.file_row_number FROM ({keys}) k JOIN ({repeated}) r "
        "ON r.source = k.source AND r.event_id = k.event_id "
        "WHERE (k.filename, k.file_row_number) <> r.first"
    )
    if not earlier:
        return later
    stored = (
        f"SELECT k.filename, k.file_row_number FROM {parquet(earlier)} c "
        f"JOIN ({keys}) k ON k.source = c.source AND k.event_id = c.event_id"
    )
    return f"{later} UNION {stored}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The segments that count, by id; ``withdrawn`` name events that no longer do.

    ``batches`` is a condition on the batches whose events count; None when all do.
    """

    fresh: list[Record]
    compacted: list[Record]
    withdrawn: list[Record]
    batches: str | None = None

    @property
    def newest(self) -> int:
        """The number of the newest segment; 0 when there is none."""
        last = (rows[-1]["id"] for rows in (self.fresh, self.compacted, self.withdrawn) if rows)
        return max(last, default=0)


def visible_segments(uow: UnitOfWork, *, as_of: int | None = None) -> Manifest:
    """The manifest as this unit of work sees it, in one query.

    With ``as_of`` only events count that had come, and withdrawals, when that segment was the
    newest: compaction moves events into later segments, but they keep their batch.
    """
    rows = uow.query(
        "SELECT id, path, state, bucket, month, events, min_time, max_time, first_only, "
        "subscription_filter "
        "FROM usage_segment "
        "WHERE state IN ('fresh', 'compacted', 'withdrawn') ORDER BY id"
    )
    fresh, compacted, withdrawn = (
        [row for row in rows if row["state"] == state]
        for state in ("fresh", "compacted", "withdrawn")
    )
    manifest = Manifest(fresh, compacted, withdrawn)
    if as_of is None:
        return manifest
    last, later = _batches_until(uow, as_of)
    return replace(
        manifest,
        withdrawn=[row for row in manifest.withdrawn if row["id"] <= as_of],
        batches=f"batch_id <= {last} AND batch_id NOT IN ({', '.join(map(str, (0, *later)))})",
    )


_BATCHES_UNTIL = """
SELECT (SELECT coalesce(max(id), 0) FROM usage_batch WHERE first_segment <= :segment) AS last,
       ARRAY(SELECT id FROM usage_batch WHERE first_segment > :segment
             AND id < (SELECT max(id) FROM usage_batch WHERE first_segment <= :segment)) AS later
"""


def _batches_until(uow: UnitOfWork, segment: int) -> tuple[int, list[int]]:
    """The last batch that had come with that segment, and those before it that came later."""
    row = uow.query(_BATCHES_UNTIL, segment=segment)[0]
    return int(row["last"]), [int(batch) for batch in row["later"]]


def _first_ones(
    store: UsageStore, manifest: Manifest, doubtful: Sequence[Record], chosen: str, *, few: bool
) -> str:
    """A SELECT of the chosen events of segments that may repeat what stands in earlier ones.

    Of ``few`` events the keys are sought, of many all keys are compared.
    """
    fresh, compacted = store.paths(manifest.fresh), store.paths(manifest.compacted)
    rows = (
        f"SELECT {COLUMNS}, filename, file_row_number "
        f"FROM {parquet(store.paths(doubtful), numbered=True)} WHERE {chosen}"
    )
    again = later_duplicates(fresh, compacted, sought="chosen" if few else None)
    return (
        f"SELECT {COLUMNS} FROM (WITH chosen AS {'' if few else 'NOT '}MATERIALIZED ({rows}) "
        f"SELECT {COLUMNS} FROM chosen f WHERE NOT EXISTS (SELECT 1 FROM ({again}) d "
        "WHERE d.filename = f.filename AND d.file_row_number = f.file_row_number))"
    )


def files_relation(store: UsageStore, segments: Sequence[Record]) -> str:
    """``read_parquet(...)`` over segments of the manifest, for further statements."""
    return parquet(store.paths(segments))


def parquet(paths: Sequence[Path], *, numbered: bool = False) -> str:
    """``read_parquet(...)`` over files, with filename and file_row_number if ``numbered``."""
    listed = ", ".join(sql_literal(str(path)) for path in paths)
    options = ", filename = true, file_row_number = true" if numbered else ""
    return f"read_parquet([{listed}]{options})"


def _sync_folder(folder: Path) -> None:
    sync(folder)


def _overlaps(row: Record, from_time: datetime, to_time: datetime) -> bool:
    first, last = row["min_time"], row["max_time"]
    assert isinstance(first, datetime) and isinstance(last, datetime)  # noqa: S101 - not null
    return first < to_time and last >= from_time


def subscriptions_among(ids: Sequence[int]) -> str:
    """The condition that an event is of one of these subscriptions."""
    return f"subscription_id IN ({', '.join(map(str, ids)) or 'NULL'})"


def timestamp(instant: datetime) -> str:
    """The instant as a literal to compare the ``time`` of events with."""
    return f"TIMESTAMP '{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"


def _no_events() -> str:
    types = {
        "time": "TIMESTAMP",
        "subscription_id": "BIGINT",
        "meter_id": "BIGINT",
        "quantity": "DECIMAL(38, 15)",
        "batch_id": "BIGINT",
        "line": "BIGINT",
        "millionths": "BIGINT",
    }
    columns = ", ".join(
        f"CAST(NULL AS {types.get(name, 'VARCHAR')}) AS {name}" for name in SEGMENT_SCHEMA.names
    )
    return f"SELECT {columns} WHERE false"


_MANIFEST = pa.schema(
    [
        ("id", pa.int64()),
        ("path", pa.string()),
        ("batch_id", pa.int64()),
        ("state", pa.string()),
        ("bucket", pa.int64()),
        ("month", pa.date32()),
        ("events", pa.int64()),
        ("min_time", pa.timestamp("us", "UTC")),
        ("max_time", pa.timestamp("us", "UTC")),
        ("first_only", pa.bool_()),
        ("subscription_filter", pa.string()),
    ]
)
