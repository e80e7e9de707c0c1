"""Which usage events a computation needs: of whom, from when on, and what is new.

The less is read, the sooner an account is answered; a bill run reads whole buckets.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from counterfoil.business.usage.membership import holding
from counterfoil.business.usage.store import (
    BUCKETS,
    Manifest,
    UsageStore,
    parquet,
    subscriptions_among,
    timestamp,
)
from counterfoil.core.periods.zones import local_midnight
from counterfoil.core.rating.relations import USAGE, Relation
from counterfoil.core.rating.statements import Needs
from counterfoil.platform.engine.duck import Engine

FEW = 1000
"""Subscriptions that are picked out one by one; of more the whole buckets are read."""

NEW_DAY = Relation(
    "new_day",
    {"subscription_id": "BIGINT", "meter_id": "BIGINT", "day": "DATE"},
    "Days (UTC) on which usage lies that no bill run has seen, in what may have been billed.",
)


_SUBSCRIPTIONS = f"""
SELECT DISTINCT subscription_id FROM charge_item WHERE meter_id IS NOT NULL LIMIT {FEW + 1}
"""


def few(subscriptions: Iterable[int]) -> list[int] | None:
    """These subscriptions, each once, or None when they are many."""
    found = sorted(set(subscriptions))
    return found if len(found) <= FEW else None


def read_once(engine: Engine, needs: Needs) -> bool:
    """Whether one statement of the rating alone reads the usage: where events are only added up."""
    named = needs.by_event or needs.anew or needs.attributes or needs.pieces
    return not (named or engine.has_rows("formula"))


def few_subscriptions(engine: Engine) -> list[int] | None:
    """The subscriptions whose usage the items on the engine need, or None: that of many is."""
    if engine.has_rows("usage_reader"):
        # A formula reads the usage of others than it stands at.
        return None
    return few(int(row[0]) for row in engine.rows(_SUBSCRIPTIONS))


def keep_usage(engine: Engine, select: str | None, needs: Needs) -> str | None:
    """The same events from a table, where several statements would read the files again; what
    rating does not look at is null."""
    if select is None:
        return None
    if read_once(engine, needs):
        return select
    unread: set[str] = set()
    if not engine.has_rows("formula"):
        named = needs.by_event or needs.anew or needs.attributes
        unread |= set() if named else {"source", "event_id"}
        unread |= set() if needs.attributes else {"attributes"}
    columns = ", ".join(
        f"CAST(NULL AS {kind}) AS {name}" if name in unread else name
        for name, kind in USAGE.columns.items()
    )
    engine.run(f"CREATE TABLE kept_usage AS SELECT {columns} FROM ({select})")
    return "SELECT * FROM kept_usage"


def make_new_days(
    engine: Engine,
    store: UsageStore,
    manifest: Manifest,
    charges: pa.Table,
    line: pa.Table,
    *,
    newer_than: int,
) -> None:
    """Make ``new_day`` of the events in segments beyond ``newer_than`` that the charges and those
    that stand in ``line`` with them count.

    Events that were withdrawn are among them: their cycles have changed as well. Compaction moves
    old events into new segments, so this may be more than what is really new. Of compacted segments
    only those of the accounts' buckets are read; fresh ones hold all buckets.
    """
    before = _billed_before(charges)
    select = None
    if before is not None:
        buckets = {root % BUCKETS for root in charges["root_id"].unique().to_pylist()}
        # A formula reads the usage of others than it stands at.
        subscriptions = None if engine.has_rows("usage_reader") else few(_metered(charges, line))
        select = _new_usage(store, manifest, newer_than, before, buckets, subscriptions)
    if select is None:
        engine.leave_empty(NEW_DAY.name, NEW_DAY.nothing)
    else:
        engine.run(f"CREATE TABLE new_day AS {select}")


def _metered(*charges: pa.Table) -> Iterator[int]:
    """The subscriptions of those that count usage."""
    for table in charges:
        yield from (
            table.filter(table["meter_id"].is_valid())["subscription_id"].unique().to_pylist()
        )


def _billed_before(charges: pa.Table) -> datetime | None:
    """The instant before which usage of the charges may have been billed, if any was."""
    billed = charges.filter(
        pc.and_(pc.equal(charges["kind"], "usage"), charges["billed_through"].is_valid())
    )
    days = billed.group_by("time_zone", use_threads=False).aggregate([("billed_through", "max")])
    zones = zip(days["time_zone"].to_pylist(), days["billed_through_max"].to_pylist(), strict=True)
    return max((local_midnight(day, zone) for zone, day in zones), default=None)


def _new_usage(
    store: UsageStore,
    manifest: Manifest,
    newer_than: int,
    before: datetime,
    buckets: Collection[int],
    subscriptions: Sequence[int] | None,
) -> str | None:
    compacted = [row for row in manifest.compacted if row["bucket"] in buckets]
    newer = [
        row
        for row in (*compacted, *manifest.fresh, *manifest.withdrawn)
        if row["id"] > newer_than and row["min_time"] < before
    ]
    if subscriptions is not None:
        newer = holding(newer, subscriptions)
    if not newer:
        return None
    chosen = f"time < {timestamp(before)}"
    if subscriptions is not None:
        chosen += f" AND {subscriptions_among(subscriptions)}"
    return (
        "SELECT DISTINCT subscription_id, meter_id, CAST(time AS DATE) AS day "
        f"FROM {parquet(store.paths(newer))} WHERE {chosen}"
    )
