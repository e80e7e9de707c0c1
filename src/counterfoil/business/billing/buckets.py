"""Rates a batch bucket by bucket, on a runner that does several works beside each other.

What pools, or looks across products, sites and accounts of one customer, is inside one bucket
(``root_id % BUCKETS``): so a bucket is rated without the others, by the statements that would rate
the whole. The driver has read PostgreSQL; a work carries what it needs of that, and the paths of
the usage segments, which a task reads itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from counterfoil.business.billing.rating import INPUTS, RESULTS, find_needs, rate_items
from counterfoil.business.usage.store import BUCKETS
from counterfoil.core.rating.statements import Needs
from counterfoil.platform.engine.duck import Engine, open_engine, small_engine
from counterfoil.platform.engine.runner import Runner


@dataclass(frozen=True, slots=True)
class BucketWork:
    """One bucket: its relations (Arrow IPC streams, by name) and a SELECT of its usage events;
    whether there is so little of all that planning takes longer than computing."""

    relations: dict[str, bytes]
    usage: str | None
    small: bool = False


BucketResult = dict[str, bytes]
"""The relations of ``RESULTS`` as Arrow IPC streams, by name."""


def rate_bucket(work: BucketWork) -> BucketResult:
    """The kernel: rates one bucket, wherever it is run."""
    with small_engine() if work.small else open_engine(threads=1) as engine:
        for name, stream in work.relations.items():
            engine.register(name, from_stream(stream))
        rate_items(engine, work.usage, find_needs(engine))
        return {name: to_stream(engine.arrow(f"SELECT * FROM {name}")) for name in RESULTS}


def rate_on(
    runner: Runner, engine: Engine, usage_of: Callable[[list[int] | None], str | None], needs: Needs
) -> None:
    """From ``INPUTS`` on the engine make ``RESULTS``, as ``rate_items`` does, on the runner.

    ``usage_of`` gives a SELECT of the usage events that the items of some buckets, or all, need.
    """
    if not runner.splits:
        rate_items(engine, usage_of(None), needs)
        return
    found = engine.rows(f"SELECT DISTINCT root_id % {BUCKETS} FROM charge_item ORDER BY 1")
    buckets = [int(row[0]) for row in found]
    if not buckets:
        rate_items(engine, None, needs)
        return
    works = bucket_works(engine, buckets, usage_of)
    results = [result for _, result in runner.run(rate_bucket, works)]
    for name in RESULTS:
        # Statements that a bucket does not need may leave it with other types than the next.
        for number, result in enumerate(results):
            engine.register(f"part_{number}", from_stream(result[name]))
        parts = (f"SELECT * FROM part_{number}" for number in range(len(results)))
        engine.run(f"CREATE TABLE {name} AS {' UNION ALL BY NAME '.join(parts)}")


def bucket_works(
    engine: Engine, buckets: list[int], usage_of: Callable[[list[int] | None], str | None]
) -> dict[int, BucketWork]:
    """The works of these buckets, by bucket.

    Of a relation a bucket gets what belongs to its items or their accounts, by the columns it has;
    what belongs to neither (prices) goes to all.
    """
    whole = {name: engine.arrow(f"SELECT * FROM {name}") for name in INPUTS}
    shared: dict[str, bytes] = {}
    owned: dict[str, str] = {}
    for name, table in whole.items():
        columns = table.column_names
        owner = next((column for column in ("item_id", "account_id") if column in columns), None)
        if owner is None:
            shared[name] = to_stream(table)
        else:
            owned[name] = owner
    items = whole["charge_item"]
    roots = items.column("root_id")
    bucket_of = pc.subtract(roots, pc.multiply(pc.divide(roots, BUCKETS), BUCKETS))
    works = {}
    for bucket in buckets:
        own = items.filter(pc.equal(bucket_of, bucket))
        relations = {
            name: to_stream(_of(whole[name], owner, own.column(owner)))
            for name, owner in owned.items()
        }
        works[bucket] = BucketWork(shared | relations, usage_of([bucket]), engine.small)
    return works


def _of(table: pa.Table, owner: str, owners: pa.ChunkedArray) -> pa.Table:
    return table.filter(pc.is_in(table.column(owner), owners, skip_nulls=True))


def to_stream(table: pa.Table) -> bytes:
    """A table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def from_stream(stream: bytes) -> pa.Table:
    """The table of an Arrow IPC stream."""
    with pa.ipc.open_stream(stream) as reader:
        return reader.read_all()
