"""Compaction: fresh segments become one set of events, filed by month and bucket.

Of events with the same (source, event id) the first one ever accepted stays. Compacted files
hold one UTC month and one bucket, sorted by subscription and time; they never hold an event
twice, neither within a file nor between files.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import cast

import pyarrow as pa

from counterfoil.business.usage.store import (
    BUCKETS,
    COLUMNS,
    FOLDERS,
    LARGEST_SEGMENT,
    ROWS_PER_GROUP,
    Incoming,
    Manifest,
    UsageStore,
    later_duplicates,
    parquet,
    visible_segments,
)
from counterfoil.business.usage.watching import note_removed_segments
from counterfoil.platform.engine.duck import Engine, open_engine, sql_literal
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

GRACE = timedelta(hours=1)
"""How long a replaced file stays for readers that began before its replacement."""

ORPHAN_AGE = timedelta(days=1)
"""Age at which a file that no manifest row names is taken for left behind by a crash."""

MANY_FRESH = 30
"""Fresh segments that are worth a compaction."""

LONGEST_FRESH = timedelta(minutes=10)
"""How long a fresh segment waits for others."""

_MEMORY = "1GB"

_BUCKET_OF = f"""
SELECT s.id AS subscription_id, coalesce(a.root_id, a.id) % {BUCKETS} AS bucket
FROM subscription s JOIN account a ON a.id = s.account_id
"""


@dataclass(frozen=True, slots=True)
class CompactionSummary:
    """What a compaction did; ``events`` are those now in compacted form that were not before."""

    segments_compacted: int = 0
    segments_written: int = 0
    events: int = 0
    duplicates_removed: int = 0
    files_deleted: int = 0
    running_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class _Partition:
    month: date
    bucket: int
    folder: Path


def compact_if_due(
    database: Database, store: UsageStore, *, now: datetime
) -> CompactionSummary | None:
    """Compact when there are many fresh segments, or some have waited long; None: neither.

    Few fresh segments are what lets a single account be answered soon.
    """
    with database.transaction(now=now) as uow:
        rows = uow.query(
            "SELECT count(*) AS segments, min(created_at) AS oldest FROM usage_segment "
            "WHERE state = 'fresh'"
        )
    segments, oldest = rows[0]["segments"], rows[0]["oldest"]
    if segments < MANY_FRESH and (oldest is None or now - oldest < LONGEST_FRESH):
        return None
    return compact(database, store, now=now)


def compact(database: Database, store: UsageStore, *, now: datetime) -> CompactionSummary:
    """Compact all fresh segments and delete files that nobody needs any more.

    Imports and readers go on meanwhile. Only one compaction runs at a time: a second one does
    nothing and says so. A crash leaves everything as it was.
    """
    with database.transaction(now=now) as uow:
        if not uow.lock("compact usage"):
            return CompactionSummary(running_elsewhere=True)
        manifest = visible_segments(uow)
        summary = _compact_fresh(uow, store, manifest) if manifest.fresh else CompactionSummary()
    return replace(summary, files_deleted=_sweep(database, store, now))


def _compact_fresh(uow: UnitOfWork, store: UsageStore, manifest: Manifest) -> CompactionSummary:
    buckets = uow.read_arrow(_BUCKET_OF)
    files: list[Incoming] = []
    replaced = list(manifest.fresh)
    events = 0
    incoming = store.folder / "incoming"
    with tempfile.TemporaryDirectory(prefix="compact-", dir=incoming) as scratch:
        folder = Path(scratch)
        with open_engine(memory_limit=_MEMORY, temp_directory=folder / "spill") as engine:
            engine.register("bucket_of", buckets)
            _distribute(engine, store, manifest, folder / "parts")
            for partition in _partitions(folder / "parts"):
                merged = _small_segments(manifest, partition)
                written, new_events = _write_partition(engine, store, partition, merged, files)
                files += written
                replaced += merged
                events += new_events
    store.publish(uow, files, batch_id=None, state="compacted")
    uow.execute(
        "UPDATE usage_segment SET state = 'replaced', updated_at = :now WHERE id = ANY(:ids)",
        now=uow.now,
        ids=[row["id"] for row in replaced],
    )
    read = sum(cast("int", row["events"]) for row in manifest.fresh)
    return CompactionSummary(len(manifest.fresh), len(files), events, read - events)


def _distribute(engine: Engine, store: UsageStore, manifest: Manifest, parts: Path) -> None:
    """Write the events that are new, by month and bucket, below ``parts``."""
    fresh, compacted = store.paths(manifest.fresh), store.paths(manifest.compacted)
    engine.run(f"CREATE OR REPLACE TABLE again AS {later_duplicates(fresh, compacted)}")
    engine.run("SET partitioned_write_flush_threshold = 65536")
    engine.run(
        f"COPY (SELECT {COLUMNS}, strftime(time, '%Y-%m-01') AS month, "
        "CAST(coalesce(b.bucket, 0) AS INTEGER) AS bucket "
        f"FROM {parquet(fresh, numbered=True)} f LEFT JOIN bucket_of b USING (subscription_id) "
        "WHERE NOT EXISTS (SELECT 1 FROM again a WHERE a.filename = f.filename "
        "AND a.file_row_number = f.file_row_number)) "
        f"TO {sql_literal(str(parts))} (FORMAT parquet, PARTITION_BY (month, bucket))"
    )


def _partitions(parts: Path) -> Iterator[_Partition]:
    for month_folder in sorted(parts.glob("month=*")):
        month = date.fromisoformat(month_folder.name.removeprefix("month="))
        for folder in sorted(month_folder.glob("bucket=*")):
            yield _Partition(month, int(folder.name.removeprefix("bucket=")), folder)


def _small_segments(manifest: Manifest, partition: _Partition) -> list[Record]:
    """Compacted segments of the partition that are small enough to be written anew with it."""
    return [
        row
        for row in manifest.compacted
        if row["month"] == partition.month
        and row["bucket"] == partition.bucket
        and cast("int", row["events"]) < LARGEST_SEGMENT // 2
    ]


def _write_partition(
    engine: Engine,
    store: UsageStore,
    partition: _Partition,
    merged: Sequence[Record],
    earlier: Sequence[Incoming],
) -> tuple[list[Incoming], int]:
    paths = [*sorted(partition.folder.glob("*.parquet")), *store.paths(merged)]
    query = f"SELECT {COLUMNS} FROM {parquet(paths)} ORDER BY subscription_id, time, line"
    try:
        with store.writing() as writer:
            for batch in engine.arrow_batches(query, rows=ROWS_PER_GROUP):
                writer.append(pa.Table.from_batches([batch]))
    except BaseException:
        for file in earlier:
            file.path.unlink(missing_ok=True)
        raise
    month = datetime(partition.month.year, partition.month.month, 1, tzinfo=UTC)
    files = [replace(file, bucket=partition.bucket, month=month) for file in writer.files]
    old = sum(cast("int", row["events"]) for row in merged)
    return files, sum(file.events for file in files) - old


def _sweep(database: Database, store: UsageStore, now: datetime) -> int:
    """Delete files replaced long ago and files that a crash left behind; their number."""
    with database.transaction(now=now) as uow:
        rows = uow.query(
            "DELETE FROM usage_segment WHERE state = 'replaced' AND updated_at < :before "
            "RETURNING id, path, batch_id",
            before=now - GRACE,
        )
        note_removed_segments(uow, [row["id"] for row in rows if row["batch_id"] is not None])
        known = {str(row["path"]) for row in uow.query("SELECT path FROM usage_segment")}
    for path in store.paths(rows):
        path.unlink(missing_ok=True)
    deleted = len(rows)
    oldest = _file_clock(store.folder) - ORPHAN_AGE.total_seconds()
    for name in FOLDERS:
        for entry in os.scandir(store.folder / name):
            if f"{name}/{entry.name}" in known or entry.stat().st_mtime > oldest:
                continue
            if entry.is_dir():
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)
            deleted += 1
    return deleted


def _file_clock(folder: Path) -> float:
    """Now, by the clock that gives the files of the folder their times."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime
