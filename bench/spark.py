"""Events rated per second by buckets on Spark, beside the same buckets here.

The works are those of one batch of many accounts, made once; what is timed is their rating, from
the usage files to the rated charges in this process. Starting Spark is not.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.company import BILLING_DATE, NOW, add_usage, make_company
from counterfoil.bootstrap import Settings, scratch_organisation
from counterfoil.business.billing.allowances import make_allowances
from counterfoil.business.billing.buckets import BucketWork, bucket_works, rate_bucket
from counterfoil.business.billing.charging import make_items, price_items
from counterfoil.business.billing.loading import billed_accounts
from counterfoil.business.billing.rating import look_at_items, rate_items
from counterfoil.business.billing.relations import midnight_relation, usage_between
from counterfoil.business.usage.store import BUCKETS, visible_segments
from counterfoil.platform.engine.choice import open_runner
from counterfoil.platform.engine.duck import open_engine
from counterfoil.platform.engine.runner import Runner
from counterfoil.platform.engine.spark_cluster import spark_cluster

ROUNDS = 2
CLUSTERS = (1, 2)
NO_USAGE_IS_LATE = 10**9


@dataclass(frozen=True, slots=True)
class SparkResult:
    """Seconds for so many events, the best of the rounds, by where they were rated."""

    events: int
    seconds: dict[str, float]


def measure_spark(settings: Settings, accounts: int) -> SparkResult:
    """Make a company of so many accounts with a month's usage and rate it everywhere."""
    with scratch_organisation(settings) as organisation:
        make_company(organisation, accounts)
        events = add_usage(organisation, accounts)
        store = organisation.usage_store
        with (
            organisation.database.transaction(now=NOW) as uow,
            open_engine(temp_directory=organisation.home) as engine,
        ):
            everyone = billed_accounts(uow)
            items = make_items(
                uow, engine, store, everyone, BILLING_DATE, usage_seen=NO_USAGE_IS_LATE
            )
            price_items(uow, engine, items)
            make_allowances(uow, engine)
            needs, days = look_at_items(engine)
            span, manifest = midnight_relation(days), visible_segments(uow)

            def usage_of(buckets: list[int] | None) -> str | None:
                chosen = range(BUCKETS) if buckets is None else buckets
                return usage_between(manifest, store, span, buckets=chosen)

            works = bucket_works(engine, list(range(BUCKETS)), usage_of)
            begin = time.perf_counter()
            rate_items(engine, usage_of(None), needs)
            seconds = {"in one piece": time.perf_counter() - begin}
        for name, runner in _runners(works):
            seconds[name] = min(_seconds(runner, works) for _ in range(ROUNDS))
    return SparkResult(events, seconds)


def _runners(works: dict[int, BucketWork]) -> Iterator[tuple[str, Runner]]:
    with _warm("processes[2]", works) as runner:
        yield "2 processes", runner
    for workers in CLUSTERS:
        with spark_cluster(workers) as cluster, _warm(cluster.master, works) as runner:
            yield f"Spark, {workers} worker{'s' if workers > 1 else ''}", runner


@contextmanager
def _warm(words: str, works: dict[int, BucketWork]) -> Iterator[Runner]:
    """A runner whose processes have all begun and loaded what they need."""
    with open_runner(words) as runner:
        _seconds(runner, works)
        yield runner


def _seconds(runner: Runner, works: dict[int, BucketWork]) -> float:
    begin = time.perf_counter()
    results = dict(runner.run(rate_bucket, works))
    seconds = time.perf_counter() - begin
    if len(results) != len(works):
        raise RuntimeError(f"{len(results)} results of {len(works)} works")
    return seconds
