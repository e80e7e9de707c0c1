"""Looking which fresh segments repeat what stands in earlier ones, once and in the background.

Whether a segment does so never changes: what stands before it stays. Segments of which it is not
known are compared with the keys of all events whenever they are read.
"""

from datetime import datetime

from counterfoil.business.usage.commands import batch_engine
from counterfoil.business.usage.store import UsageStore, later_duplicates, parquet, visible_segments
from counterfoil.platform.records.database import Database

_ANY_UNKNOWN = """
SELECT EXISTS (SELECT FROM usage_segment WHERE state = 'fresh' AND first_only IS NULL) AS found
"""
_REMEMBER = """
UPDATE usage_segment SET first_only = path <> ALL(:repeating), updated_at = :now
WHERE id = ANY(:ids) AND state = 'fresh' AND first_only IS NULL
"""


def look_for_repeats(database: Database, store: UsageStore, *, now: datetime) -> int:
    """Find out of each fresh segment that came over HTTP whether it repeats an earlier event.

    Answers how many were looked at. It takes about 0.1 s per million events of the store.
    """
    with database.transaction(now=now) as uow:
        if not uow.query(_ANY_UNKNOWN)[0]["found"]:
            return 0
        manifest = visible_segments(uow)
    unknown = [row for row in manifest.fresh if row["first_only"] is None]
    if not unknown:  # Compacted a moment ago, or looked at by another server.
        return 0
    paths = store.paths(unknown)
    fresh, compacted = store.paths(manifest.fresh), store.paths(manifest.compacted)
    keys = f"SELECT source, event_id FROM {parquet(paths)}"
    again = later_duplicates(fresh, compacted, sought="keys")
    with batch_engine(store) as engine:
        found = engine.rows(
            f"WITH keys AS MATERIALIZED ({keys}) SELECT DISTINCT filename FROM ({again})"
        )
    files = {name for (name,) in found}
    repeating = [
        row["path"] for row, path in zip(unknown, paths, strict=True) if str(path) in files
    ]
    with database.transaction(now=now) as uow:
        uow.execute(_REMEMBER, repeating=repeating, ids=[row["id"] for row in unknown], now=uow.now)
    return len(unknown)
