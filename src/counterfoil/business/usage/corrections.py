"""Corrections: usage events that were wrong are withdrawn, and may be replaced.

Events are immutable and known by (source, event id) for good, so a correction alters none: it names
the event, which from then on does not count, and may put another with the right quantity and a new
id in its place. What is withdrawn stands in segments of its own, which whoever reads usage takes
out; a withdrawn event never counts again, whatever is sent once more.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

import pyarrow as pa

from counterfoil.business.usage.commands import batch_engine
from counterfoil.business.usage.store import (
    COLUMNS,
    EVENT_SCHEMA,
    Manifest,
    UsageStore,
    lock_publishing,
    parquet,
    save_events,
    visible_segments,
)
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

MOST_AT_ONCE = 100_000

_DECIMALS = 15
_TOO_LARGE = Decimal(10) ** 23

Key = tuple[str, str]
"""Source and event id."""


@dataclass(frozen=True, slots=True)
class Correction:
    """An event that was wrong. ``quantity`` is the right one in meter units; None withdraws it."""

    source: str
    event_id: str
    quantity: Decimal | None = None
    reason: str | None = None

    @property
    def key(self) -> Key:
        """What the event is known by."""
        return (self.source, self.event_id)


@dataclass(frozen=True, slots=True)
class CorrectionSummary:
    """What corrections did: events withdrawn, those of them replaced, and corrections that had
    been made before just so. ``batch_id`` is the batch of the new events, 0 without any."""

    batch_id: int = 0
    withdrawn: int = 0
    replaced: int = 0
    unchanged: int = 0


def correct_usage(
    uow: UnitOfWork, store: UsageStore, corrections: Sequence[Correction]
) -> CorrectionSummary:
    """Withdraw the events, and store those that stand in their place; all or nothing.

    The next bill run bills the difference of cycles that were billed, as late usage. The same
    correction again changes nothing. Refuses (422) events that are not there or were corrected
    otherwise, negative quantities, and an event named twice; a problem's line is its position.
    """
    _check(corrections)
    # Nobody publishes until this is committed, so what is found stays all there is.
    lock_publishing(uow)
    before = _made_before(uow, corrections)
    again = [one for one in corrections if one.key in before]
    _check_repeated(corrections, before)
    new = [one for one in corrections if one.key not in before]
    if not new:
        return CorrectionSummary(unchanged=len(again))
    events = _find_events(store, visible_segments(uow), corrections, new)
    batch_id = _create_batch(uow, int(events[new[0].key]["batch_id"]), len(new))
    ids = uow.allocate_ids("usage_correction", len(new))
    records: list[Record] = []
    right: list[Record] = []
    for record_id, one in zip(ids, new, strict=True):
        replacement = None
        if one.quantity is not None:
            replacement = f"{one.event_id}#{record_id}"
            right.append({**events[one.key], "event_id": replacement, "quantity": one.quantity})
        records.append(
            {
                "id": record_id,
                "source": one.source,
                "event_id": one.event_id,
                "quantity": one.quantity,
                "replacement_event_id": replacement,
                "reason": one.reason,
                "batch_id": batch_id,
            }
        )
    uow.copy_in("usage_correction", pa.Table.from_pylist(records, _CORRECTIONS))
    with store.writing() as writer:
        writer.append(_table([events[one.key] for one in new], batch_id))
    store.publish(uow, writer.files, batch_id=batch_id, state="withdrawn")
    if right:
        save_events(uow, store, _table(right, batch_id), batch_id)
    return CorrectionSummary(batch_id, len(new), len(right), len(again))


def _check(corrections: Sequence[Correction]) -> None:
    problems = []
    seen: set[Key] = set()
    for line, one in enumerate(corrections, start=1):
        if one.quantity is not None and not 0 <= one.quantity < _TOO_LARGE:
            message = f"{one.quantity} is below 0, or has more than 23 digits before the point"
            problems.append(Problem("absurd_quantity", message, "quantity", line=line))
        elif one.quantity is not None and one.quantity != round(one.quantity, _DECIMALS):
            message = f"{one.quantity} has more than {_DECIMALS} decimals"
            problems.append(Problem("too_precise", message, "quantity", line=line))
        if one.key in seen:
            message = f"event {one.event_id!r} of {one.source!r} is named twice"
            problems.append(Problem("double_event", message, "event_id", line=line))
        seen.add(one.key)
    if len(corrections) > MOST_AT_ONCE:
        message = f"are {len(corrections)}; at most {MOST_AT_ONCE} at once"
        problems.append(Problem("too_many", message, "corrections"))
    if problems:
        raise Refused(problems)


_MADE_BEFORE = """
SELECT c.source, c.event_id, c.quantity, c.replacement_event_id
FROM usage_correction c
JOIN unnest(CAST(:sources AS text[]), CAST(:events AS text[])) AS v(source, event_id)
  ON v.source = c.source AND v.event_id = c.event_id
"""


def _made_before(uow: UnitOfWork, corrections: Sequence[Correction]) -> dict[Key, Record]:
    rows = uow.query(
        _MADE_BEFORE,
        sources=[one.source for one in corrections],
        events=[one.event_id for one in corrections],
    )
    return {(str(row["source"]), str(row["event_id"])): row for row in rows}


def _check_repeated(corrections: Iterable[Correction], before: Mapping[Key, Record]) -> None:
    problems = []
    for line, one in enumerate(corrections, start=1):
        made = before.get(one.key)
        if made is None or made["quantity"] == one.quantity:
            continue
        message = f"event {one.event_id!r} of {one.source!r} was withdrawn before"
        if made["replacement_event_id"] is not None:
            message += f"; correct {made['replacement_event_id']!r}, which stands in its place"
        problems.append(Problem("already_corrected", message, "event_id", line=line))
    if problems:
        raise Refused(problems)


def _find_events(
    store: UsageStore, manifest: Manifest, corrections: Sequence[Correction], new: list[Correction]
) -> dict[Key, Record]:
    """The events that count of these keys; refuses (422) keys of none."""
    parts = []
    if manifest.compacted:
        files = parquet(store.paths(manifest.compacted))
        parts.append(f"SELECT {COLUMNS}, '' AS filename, 0 AS file_row_number FROM {files}")
    if manifest.fresh:
        files = parquet(store.paths(manifest.fresh), numbered=True)
        parts.append(f"SELECT {COLUMNS}, filename, file_row_number FROM {files}")
    found: list[Record] = []
    if parts:
        stored = "\nUNION ALL\n".join(parts)
        with batch_engine(store) as engine:
            engine.register(
                "wanted",
                pa.table(
                    {
                        "source": pa.array([one.source for one in new], pa.string()),
                        "event_id": pa.array([one.event_id for one in new], pa.string()),
                    }
                ),
            )
            found = engine.arrow(
                f"SELECT {COLUMNS} FROM ({stored}) e SEMI JOIN wanted w USING (source, event_id) "
                "QUALIFY row_number() OVER (PARTITION BY source, event_id "
                "ORDER BY filename, file_row_number) = 1"
            ).to_pylist()
    wanted = {one.key for one in new}
    events: dict[Key, Record] = {(row["source"], row["event_id"]): row for row in found}
    problems = [
        Problem(
            "unknown_event",
            f"there is no event {one.event_id!r} of {one.source!r}",
            "event_id",
            line=line,
        )
        for line, one in enumerate(corrections, start=1)
        if one.key in wanted and one.key not in events
    ]
    if problems:
        raise Refused(problems)
    return events


def _create_batch(uow: UnitOfWork, like: int, count: int) -> int:
    """A batch of corrections, of the collector through which the first event came."""
    batch = uow.create(
        "usage_batch",
        {
            "batch_key": f"corrections:{uuid.uuid4()}",
            "collector_id": uow.get("usage_batch", like)["collector_id"],
            "records_read": count,
            "accepted": count,
        },
        by_command=True,
    )
    return cast("int", batch["id"])


def _table(events: Sequence[Record], batch_id: int) -> pa.Table:
    rows = [
        {**event, "batch_id": batch_id, "line": line} for line, event in enumerate(events, start=1)
    ]
    return pa.Table.from_pylist(rows, EVENT_SCHEMA)


_CORRECTIONS = pa.schema(
    [
        ("id", pa.int64()),
        ("source", pa.string()),
        ("event_id", pa.string()),
        ("quantity", pa.decimal128(38, 15)),
        ("replacement_event_id", pa.string()),
        ("reason", pa.string()),
        ("batch_id", pa.int64()),
    ]
)
