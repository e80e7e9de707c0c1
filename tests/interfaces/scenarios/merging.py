"""Many small ratings as one: the relations of all of them, with ids that do not meet."""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from counterfoil.business.billing.buckets import BucketWork, from_stream
from counterfoil.core.rating.relations import USAGE
from counterfoil.platform.engine.duck import open_engine

APART = 1_000_000


def apart(table: pa.Table, number: int) -> pa.Table:
    """The table with all its ids moved, so that they are those of rating ``number`` alone."""
    for place, name in enumerate(table.column_names):
        if name.endswith("_id") and pa.types.is_integer(table.schema.field(name).type):
            ids = table.column(name)
            # Zero is nobody's id: it says that there is no owner.
            moved = pc.if_else(pc.equal(ids, 0), ids, pc.add(ids, number * APART))
            table = table.set_column(place, name, moved)
    return table


def merged(works: Iterable[BucketWork]) -> dict[str, pa.Table]:
    """All input relations, the usage events among them."""
    parts: dict[str, list[pa.Table]] = {"usage": []}
    for number, work in enumerate(works):
        for name, stream in work.relations.items():
            parts.setdefault(name, []).append(apart(from_stream(stream), number))
        if work.usage is not None:
            parts["usage"].append(apart(usage_of(work), number))
    return {name: pa.concat_tables(tables) for name, tables in parts.items()}


def usage_of(work: BucketWork) -> pa.Table:
    columns = ", ".join(USAGE.columns)
    with open_engine(threads=1) as engine:
        return engine.arrow(f"SELECT {columns} FROM ({work.usage})")
