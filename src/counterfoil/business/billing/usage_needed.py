"""Which usage events a computation needs: of whom, from when on, and what is new.

The less is read, the sooner an account is answered; a bill run reads whole buckets.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from counterfoil.business.billing.relations import make_relation
from counterfoil.business.usage.store import (
    BUCKETS,
    Manifest,
    UsageStore,
    parquet,
    subscriptions_among,
    timestamp,
)
from counterfoil.core.periods.zones import local_midnight
from counterfoil.core.rating.relations import USAGE
from counterfoil.core.rating.statements import Needs
from counterfoil.platform.engine.duck import Engine

FEW = 1000
"""Subscriptions that are picked out one by one; of more the whole buckets are read."""

_BILLED_THROUGH = """
SELECT time_zone, max(billed_through) FROM every_charge
WHERE kind = 'usage' AND billed_through IS NOT NULL GROUP BY time_zone
"""


def few(subscriptions: Iterable[int]) -> list[int] | None:
    """These subscriptions, each once, or None when they are many."""
    found = sorted(set(subscriptions))
    return found if len(found) <= FEW else None


def few_subscriptions(engine: Engine, *relations: str) -> list[int] | None:
    """The subscriptions in these relations whose usage is needed, or None: that of many is."""
    if engine.rows("SELECT 1 FROM usage_reader LIMIT 1"):
        # A formula reads the usage of others than it stands at.
        return None
    parts = " UNION ".join(
        f"SELECT DISTINCT subscription_id FROM {name} WHERE meter_id IS NOT NULL"
        for name in relations
    )
    rows = engine.rows(f"{parts} LIMIT {FEW + 1}")
    return few(int(row[0]) for row in rows)


def read_once(engine: Engine, needs: Needs) -> bool:
    """Whether one statement of the rating alone reads the usage: where events are only added up."""
    named = needs.by_event or needs.anew or needs.attributes or needs.pieces
    return not (named or engine.rows("SELECT 1 FROM formula LIMIT 1"))


def keep_usage(engine: Engine, select: str | None, needs: Needs) -> str | None:
    """The same events from a table, where several statements would read the files again; what
    rating does not look at is null."""
    if select is None:
        return None
    if read_once(engine, needs):
        return select
    unread: set[str] = set()
    if not engine.rows("SELECT 1 FROM formula LIMIT 1"):
        named = needs.by_event or needs.anew or needs.attributes
        unread |= set() if named else {"source", "event_id"}
        unread |= set() if needs.attributes else {"attributes"}
    columns = ", ".join(
        f"CAST(NULL AS {kind}) AS {name}" if name in unread else name
        for name, kind in USAGE.columns.items()
    )
    engine.run(f"CREATE TABLE kept_usage AS SELECT {columns} FROM ({select})")
    return "SELECT * FROM kept_usage"


def make_new_usage(
    engine: Engine, store: UsageStore, manifest: Manifest, *, newer_than: int
) -> None:
    """Make ``new_usage``: events in segments beyond ``newer_than``, duplicates included, that may
    lie in cycles that were billed.

    Events that were withdrawn are among them: their cycles have changed as well. Compaction moves
    old events into new segments, so this may be more than what is really new. Of compacted segments
    only those of the accounts' buckets are read; fresh ones hold all buckets.
    """
    billed = engine.rows(_BILLED_THROUGH)
    before = max((local_midnight(day, zone) for zone, day in billed), default=None)
    select = None
    if before is not None:
        buckets = [int(row[0]) for row in engine.rows(_BUCKETS_OF_CHARGES)]
        select = _new_usage(engine, store, manifest, newer_than, before, buckets)
    make_relation(engine, "new_usage", USAGE, select)


_BUCKETS_OF_CHARGES = f"SELECT DISTINCT root_id % {BUCKETS} FROM charge"


def _new_usage(
    engine: Engine,
    store: UsageStore,
    manifest: Manifest,
    newer_than: int,
    before: datetime,
    buckets: Sequence[int],
) -> str | None:
    compacted = [row for row in manifest.compacted if row["bucket"] in buckets]
    newer = [
        row
        for row in (*compacted, *manifest.fresh, *manifest.withdrawn)
        if row["id"] > newer_than and row["min_time"] < before
    ]
    if not newer:
        return None
    chosen = f"time < {timestamp(before)}"
    subscriptions = few_subscriptions(engine, "every_charge", "pool_member")
    if subscriptions is not None:
        chosen += f" AND {subscriptions_among(subscriptions)}"
    return (
        f"SELECT subscription_id, meter_id, time FROM {parquet(store.paths(newer))} WHERE {chosen}"
    )
