"""Relations that both bills and explanations put before the statements of core.rating."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date

import pyarrow as pa
import pyarrow.compute as pc

from counterfoil.business.usage.store import Manifest, UsageStore, usage_relation
from counterfoil.core.periods.zones import local_midnight
from counterfoil.core.rating.relations import Relation, Statement
from counterfoil.platform.engine.duck import Engine


def make_relation(engine: Engine, name: str, shape: Relation, select: str | None) -> None:
    """Make the view ``name`` from a SELECT, or empty with the columns of ``shape``."""
    if select is None:
        engine.leave_empty(name, shape.nothing)
    else:
        engine.run(f"CREATE VIEW {name} AS {select}")


def make_statement(engine: Engine, statement: Statement) -> None:
    """Make the relation of a statement."""
    if statement.empty:
        engine.leave_empty(statement.name, statement.sql)
    else:
        engine.run(statement.create)


def midnight_relation(days: Iterable[tuple[str, date]]) -> pa.Table:
    """``midnight`` (core.rating.relations) of these zones and local days."""
    chosen = sorted(days)
    instants = [local_midnight(day, zone).replace(tzinfo=None) for zone, day in chosen]
    return pa.table(
        {
            "time_zone": pa.array([zone for zone, _ in chosen], pa.string()),
            "day": pa.array([day for _, day in chosen], pa.date32()),
            "instant": pa.array(instants, pa.timestamp("us")),
        }
    )


def usage_between(
    manifest: Manifest,
    store: UsageStore,
    midnights: pa.Table,
    *,
    buckets: Sequence[int],
    subscriptions: Sequence[int] | None = None,
) -> str | None:
    """A SELECT of the manifest's usage events between the first and the last midnight, or None.

    Of these ``subscriptions`` only, where they are given.
    """
    bounds = pc.min_max(midnights.column("instant")).as_py()
    if bounds["min"] is None:
        return None
    return usage_relation(
        manifest,
        store,
        buckets=buckets,
        from_time=bounds["min"].replace(tzinfo=UTC),
        to_time=bounds["max"].replace(tzinfo=UTC),
        subscriptions=subscriptions,
    )
