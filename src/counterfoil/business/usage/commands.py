"""Commands of the usage room: import a file, re-run or dismiss rejected records."""

import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import cast

import msgspec
import pyarrow as pa

from counterfoil.business.usage.collectors import Collector, collector_of, load_collector
from counterfoil.business.usage.intake import BatchSummary, Intake
from counterfoil.business.usage.mapping import KEPT_ID
from counterfoil.business.usage.reading import Progress, UsageFile, content_digest, records_of
from counterfoil.business.usage.routing import load_routing
from counterfoil.business.usage.store import (
    Incoming,
    UsageStore,
    later_duplicates,
    lock_publishing,
    visible_segments,
)
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.engine.duck import Engine, open_engine
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

_MEMORY = "768MB"
_MOST_RERUN = 200_000


def import_file(
    database: Database,
    store: UsageStore,
    collector_external_id: str,
    path: Path,
    *,
    now: datetime,
    progress: Progress | None = None,
) -> BatchSummary:
    """Import a usage file: all of it becomes visible at once, or nothing does.

    The same content under the same collector changes nothing the second time, and the summary
    says so. Refuses (404) an unknown collector or file and (422) a file that is not text as the
    collector declares; single bad records are kept as rejected usage instead.
    """
    key = f"{collector_external_id}:{content_digest(path)}"
    try:
        with database.transaction(now=now) as uow:
            collector = load_collector(uow, collector_external_id)
            if uow.find("usage_batch", batch_key=key) is None:
                return _import_new(uow, store, collector, path, key, progress)
    except Refused as refusal:
        # Another process has imported the same content since we looked.
        if not _is_double_batch(refusal):
            raise
    with database.transaction(now=now) as uow:
        return _first_import(uow, key, path)


def _is_double_batch(refusal: Refused) -> bool:
    return refusal.status == 409 and any(
        problem.field.endswith("batch_key") for problem in refusal.problems
    )


def _first_import(uow: UnitOfWork, key: str, path: Path) -> BatchSummary:
    batch = cast("Record", uow.find("usage_batch", batch_key=key))
    rows = uow.query(
        "SELECT reason, count(*) AS records FROM rejected_usage WHERE batch_id = :batch "
        "GROUP BY reason ORDER BY reason",
        batch=batch["id"],
    )
    counts = {
        name: cast("int", batch[name])
        for name in ("records_read", "accepted", "duplicate", "rejected")
    }
    skipped = 2 * counts["records_read"] - sum(counts.values())
    return BatchSummary(
        cast("int", batch["id"]),
        path.name,
        **counts,
        skipped=skipped,
        rejected_by_reason={str(row["reason"]): cast("int", row["records"]) for row in rows},
        already_imported=True,
    )


def _import_new(
    uow: UnitOfWork,
    store: UsageStore,
    collector: Collector,
    path: Path,
    key: str,
    progress: Progress | None,
) -> BatchSummary:
    file = UsageFile(path, collector.declaration, progress)
    batch_id = create_batch(uow, collector, key, path.name)
    summary = BatchSummary(batch_id, path.name)
    with batch_engine(store) as engine, store.writing() as writer:
        intake = Intake(engine, collector, file.columns, load_routing(uow))
        for chunk in file.chunks():
            taken = intake.take(chunk.records, chunk.malformed, batch_id)
            writer.append(taken.events)
            uow.copy_in("rejected_usage", with_open_status(taken.rejected))
            summary = summary.plus(taken)
        writer.finish()
        duplicate = _publish_counted(uow, store, engine, writer.files, batch_id)
        return finish_batch(uow, summary.without_duplicates(duplicate))


def create_batch(uow: UnitOfWork, collector: Collector, key: str, file_name: str = "") -> int:
    """A batch with its key; refuses (409) a key that is taken, waiting for its transaction."""
    values: Record = {"batch_key": key, "collector_id": collector.id, "file_name": file_name}
    return cast("int", uow.create("usage_batch", values, by_command=True)["id"])


def finish_batch(uow: UnitOfWork, summary: BatchSummary) -> BatchSummary:
    """Write the counts of a batch; returns the summary as it is."""
    uow.execute(
        "UPDATE usage_batch SET records_read = :records_read, accepted = :accepted, "
        "duplicate = :duplicate, rejected = :rejected WHERE id = :batch",
        records_read=summary.records_read,
        accepted=summary.accepted,
        duplicate=summary.duplicate,
        rejected=summary.rejected,
        batch=summary.batch_id,
    )
    return summary


@contextmanager
def batch_engine(store: UsageStore) -> Iterator[Engine]:
    """An engine that spills below the store's folder when a batch needs more memory."""
    with (
        tempfile.TemporaryDirectory(prefix="spill-", dir=store.folder / "incoming") as folder,
        open_engine(memory_limit=_MEMORY, temp_directory=folder) as engine,
    ):
        yield engine


def with_open_status(rejected: pa.Table) -> pa.Table:
    """Rejected records ready for the table ``rejected_usage``."""
    return rejected.append_column("status", pa.repeat(pa.scalar("open"), rejected.num_rows))


def _publish_counted(
    uow: UnitOfWork,
    store: UsageStore,
    engine: Engine,
    files: Sequence[Incoming],
    batch_id: int,
) -> int:
    """Publish the files; the number of their events that were known before, exactly.

    Counting takes time, so it is done before the lock; what was published meanwhile (seldom) is
    counted again under it.
    """
    if not files:
        return 0
    paths = [file.path for file in files]
    seen: list[Path] | None = None
    duplicate = 0
    for locked in (False, True):
        if locked:
            lock_publishing(uow)
        manifest = visible_segments(uow)
        stored = store.paths(manifest.compacted) + store.paths(manifest.fresh)
        if stored != seen:
            sql = f"SELECT count(*) FROM ({later_duplicates(paths, stored)})"
            duplicate, seen = cast("int", engine.row(sql)[0]), stored
    store.publish(uow, files, batch_id=batch_id, first_only=duplicate == 0)
    return duplicate


def rerun_rejected(
    database: Database,
    store: UsageStore,
    *,
    now: datetime,
    ids: Sequence[int] | None = None,
    reason: str | None = None,
    mended: Mapping[int, Record] | None = None,
) -> BatchSummary:
    """Take open rejected records in again, by the same way as a file; at most 200,000 at once.

    ``ids`` and ``reason`` choose among the open ones (both empty: all); ``mended`` gives the new
    field values of some, which replace the old ones in the record. What is accepted now gets the
    status accepted and is never taken again; the rest keeps its place with today's reason.
    The summary is of all of them, ``batch_id`` that of the last batch (0: there was nothing).
    Refuses (409) ids that are not open, and (422) texts that are not fields of a record.
    """
    chosen = sorted({*(ids or ()), *(mended or {})}) if ids or mended else None
    total = BatchSummary(0)
    with database.transaction(now=now) as uow:
        rows = _lock_open(uow, chosen, reason)
        _apply_mending(rows, mended or {})
        by_collector: dict[int, list[Record]] = {}
        for row in rows:
            by_collector.setdefault(cast("int", row["collector_id"]), []).append(row)
        for collector_id, group in by_collector.items():
            collector = collector_of(uow.get("collector", collector_id))
            total = _add(total, _rerun_group(uow, store, collector, group))
    return total


def _lock_open(uow: UnitOfWork, ids: Sequence[int] | None, reason: str | None) -> list[Record]:
    conditions = ["status = 'open'"]
    if ids is not None:
        conditions.append("id = ANY(:ids)")
    if reason is not None:
        conditions.append("reason = :reason")
    rows = uow.query(
        "SELECT id, collector_id, line, reason, message, record FROM rejected_usage "
        f"WHERE {' AND '.join(conditions)} ORDER BY id LIMIT {_MOST_RERUN} FOR UPDATE SKIP LOCKED",
        **({"ids": list(ids)} if ids is not None else {}),
        **({"reason": reason} if reason is not None else {}),
    )
    missing = set(ids or ()) - {row["id"] for row in rows}
    if missing and reason is None:
        listed = ", ".join(map(str, sorted(missing)))
        problem = Problem("not_open", f"no open rejected record has the id {listed}", "id")
        raise Refused(problem, status=409)
    return rows


def _apply_mending(rows: Sequence[Record], mended: Mapping[int, Record]) -> None:
    for row in rows:
        changes = mended.get(cast("int", row["id"]))
        if changes is None:
            continue
        record = cast("Record", row["record"])
        base = {} if set(record) == {"text"} else record
        row["record"] = {**base, **{key: _plain(value) for key, value in changes.items()}}


def _plain(value: object) -> object:
    return value if isinstance(value, str | dict | list) or value is None else str(value)


def _rerun_group(
    uow: UnitOfWork, store: UsageStore, collector: Collector, rows: Sequence[Record]
) -> BatchSummary:
    batch_id = create_batch(uow, collector, f"rerun:{uuid.uuid4()}")
    summary = BatchSummary(batch_id)
    columns, table = _raw_again(collector, rows)
    with batch_engine(store) as engine, store.writing() as writer:
        intake = Intake(engine, collector, columns, load_routing(uow))
        taken = intake.take(table, (), batch_id)
        by_position = dict(enumerate(rows, start=1))
        writer.append(_with_original_lines(taken.events, by_position))
        writer.finish()
        duplicate = _publish_counted(uow, store, engine, writer.files, batch_id)
    again: dict[int, Record] = {
        cast("int", by_position[bad["line"]]["id"]): {
            "reason": bad["reason"],
            "message": bad["message"],
        }
        for bad in taken.rejected.select(["line", "reason", "message"]).to_pylist()
    }
    changes = []
    for row in rows:
        row_id = cast("int", row["id"])
        outcome: Record = again.get(row_id, {"status": "accepted"})
        changes.append((row_id, {**outcome, "record": row["record"]}))
    uow.update_many("rejected_usage", changes, by_command=True)
    return finish_batch(uow, summary.plus(taken).without_duplicates(duplicate))


def _raw_again(collector: Collector, rows: Sequence[Record]) -> tuple[tuple[str, ...], pa.Table]:
    """Rejected records as raw ones; ``line`` is the position in ``rows``, from 1."""
    records = [dict(cast("Record", row["record"])) for row in rows]
    kept = pa.array([record.pop(KEPT_ID, None) for record in records], pa.string())
    lines = pa.array(range(1, len(rows) + 1), pa.int64())
    if collector.declaration.json:
        texts = [
            str(record["text"]) if set(record) == {"text"} else msgspec.json.encode(record).decode()
            for record in records
        ]
        return (), _with_kept(records_of(pa.array(texts, pa.string()), lines), kept)
    columns = list(collector.declaration.used_columns())
    columns += sorted({key for record in records for key in record} - set(columns))
    arrays = {
        f"c{index}": pa.array([str(record.get(column, "")) for record in records], pa.string())
        for index, column in enumerate(columns)
    }
    return tuple(columns), pa.table({**arrays, "line": lines, "kept_id": kept})


def _with_kept(table: pa.Table, kept: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index("kept_id"), "kept_id", kept)


def _with_original_lines(events: pa.Table, by_position: Mapping[int, Record]) -> pa.Table:
    lines = [by_position[position]["line"] for position in events["line"].to_pylist()]
    index = events.column_names.index("line")
    return events.set_column(index, "line", pa.array(lines, pa.int64()))


def _add(total: BatchSummary, part: BatchSummary) -> BatchSummary:
    reasons = dict(total.rejected_by_reason)
    for reason, records in part.rejected_by_reason.items():
        reasons[reason] = reasons.get(reason, 0) + records
    return replace(
        part,
        records_read=total.records_read + part.records_read,
        accepted=total.accepted + part.accepted,
        duplicate=total.duplicate + part.duplicate,
        rejected=total.rejected + part.rejected,
        skipped=total.skipped + part.skipped,
        rejected_by_reason=reasons,
    )


def dismiss_rejected(
    database: Database,
    *,
    now: datetime,
    ids: Sequence[int] | None = None,
    reason: str | None = None,
) -> int:
    """Give up open rejected records: they stay listed with the status dismissed; their number.

    Refuses (422) to dismiss without ids or a reason, and (409) ids that are not open.
    """
    if not ids and reason is None:
        raise Refused(Problem("missing_field", "name ids or a reason", "ids"))
    with database.transaction(now=now) as uow:
        rows = _lock_open(uow, ids or None, reason)
        changes: list[tuple[int, Record]] = [
            (cast("int", row["id"]), {"status": "dismissed"}) for row in rows
        ]
        uow.update_many("rejected_usage", changes, by_command=True)
        return len(changes)
