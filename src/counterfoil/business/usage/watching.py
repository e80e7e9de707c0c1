"""Watchers of usage: which subscriptions got usage since they last looked.

A watcher's cursor is a row with the last segment it has seen. Segments become visible in the
order of their ids, so whatever is above the cursor is new and nothing below it can follow. The
cursor moves when the watcher has looked at everything; a crash before that means that it
looks again, so what a watcher does must be harmless to do twice.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from counterfoil.business.usage.store import UsageStore, files_relation
from counterfoil.platform.engine.duck import open_engine
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

MOST_AT_ONCE = 5000
"""Subscriptions a watcher is handed in one call."""

log = logging.getLogger(__name__)

Look = Callable[[Database, UsageStore, Sequence[int], datetime], object]
"""Looks at subscriptions (ids, ascending) that got usage, at the instant ``now``."""


@dataclass(frozen=True, slots=True)
class UsageWatcher:
    """Who looks at subscriptions as usage arrives, under a name that stays: the cursor's."""

    name: str
    look: Look


@dataclass(frozen=True, slots=True)
class NewUsage:
    """The subscriptions with usage above a cursor (ids, ascending), and where it moves to."""

    subscription_ids: tuple[int, ...]
    last_segment: int


def watch_usage(
    database: Database, store: UsageStore, watcher: UsageWatcher, *, now: datetime
) -> int:
    """Let the watcher look at what is new to it; the number of subscriptions it looked at.

    Does nothing while another process does the same. A fault of the watcher leaves its cursor
    where it is.
    """
    if not _has_new_usage(database, watcher.name, now):
        return 0
    with database.transaction(now=now, source="job") as uow:
        cursor = _locked_cursor(uow, watcher.name)
        if cursor is None:
            return 0
        new = new_usage_subscriptions(uow, store, cursor)
        for start in range(0, len(new.subscription_ids), MOST_AT_ONCE):
            some = new.subscription_ids[start : start + MOST_AT_ONCE]
            watcher.look(database, store, some, now)
        uow.execute(
            "UPDATE usage_cursor SET last_segment = :last, behind = false, updated_at = :now,"
            " row_version = row_version + 1 WHERE id = :id",
            last=new.last_segment,
            now=uow.now,
            id=cursor["id"],
        )
        return len(new.subscription_ids)


def watch_usage_by_all(
    database: Database, store: UsageStore, watchers: Sequence[UsageWatcher], *, now: datetime
) -> None:
    """Let all watchers look, each whatever becomes of the others; a fault is logged."""
    for watcher in watchers:
        try:
            watch_usage(database, store, watcher, now=now)
        except Exception:
            log.exception("the usage watcher %s failed; it looks again later", watcher.name)


def new_usage_subscriptions(uow: UnitOfWork, store: UsageStore, cursor: Record) -> NewUsage:
    """The subscriptions with usage above a cursor that this unit of work has locked."""
    last = cast("int", cursor["last_segment"])
    rows = uow.query(
        "SELECT id, path, state, batch_id FROM usage_segment WHERE id > :last ORDER BY id",
        last=last,
    )
    # A segment of a batch holds new usage, and stays for a while when it has been compacted. What
    # compaction wrote only repeats it, and is read when segments of batches are gone.
    wanted = [
        row
        for row in rows
        if row["batch_id"] is not None or (cursor["behind"] and row["state"] == "compacted")
    ]
    if not wanted:
        return NewUsage((), max((cast("int", row["id"]) for row in rows), default=last))
    with open_engine(threads=1) as engine:
        found = engine.rows(
            f"SELECT DISTINCT subscription_id FROM {files_relation(store, wanted)} ORDER BY 1"
        )
    return NewUsage(tuple(int(row[0]) for row in found), cast("int", rows[-1]["id"]))


def note_removed_segments(uow: UnitOfWork, segment_ids: Sequence[int]) -> None:
    """Note that these segments of batches are gone, for the cursors that have not seen them.

    Waits for watchers that are just looking; files may be deleted after the commit.
    """
    if segment_ids:
        uow.execute(
            "UPDATE usage_cursor SET behind = true WHERE last_segment < :newest",
            newest=max(segment_ids),
        )


def _has_new_usage(database: Database, name: str, now: datetime) -> bool:
    """Whether there are segments above the cursor; makes the cursor of a new watcher."""
    with database.transaction(now=now, source="job") as uow:
        newest = uow.query("SELECT coalesce(max(id), 0) AS id FROM usage_segment")[0]["id"]
        rows = uow.query("SELECT last_segment FROM usage_cursor WHERE name = :name", name=name)
        if rows:
            return bool(newest > rows[0]["last_segment"])
        # It looks at all there is; what is compacted already is new to it as well.
        uow.execute(
            "INSERT INTO usage_cursor (created_at, updated_at, row_version, name, last_segment,"
            " behind) VALUES (:now, :now, 1, :name, 0, true) ON CONFLICT (name) DO NOTHING",
            now=uow.now,
            name=name,
        )
        return bool(newest > 0)


def _locked_cursor(uow: UnitOfWork, name: str) -> Record | None:
    """The cursor, locked; None when another unit of work has it."""
    rows = uow.query(
        "SELECT id, last_segment, behind FROM usage_cursor WHERE name = :name"
        " FOR UPDATE SKIP LOCKED",
        name=name,
    )
    return rows[0] if rows else None
