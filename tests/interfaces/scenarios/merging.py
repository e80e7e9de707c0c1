"""Many small ratings as one, as in a real batch: all their relations, with ids that do not meet."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from tests.interfaces.scenarios.recordings import Rated

from counterfoil.business.billing.buckets import BucketWork, from_stream, to_stream

APART = 1_000_000


@dataclass(frozen=True)
class Merged:
    """A work, and what it must come to: the rows of each result."""

    work: BucketWork
    expected: dict[str, list[dict[str, object]]]


def merge(rated: Sequence[Rated]) -> Merged:
    """The ratings as one work; none of them may have formulas, which know things by name."""
    relations: dict[str, list[pa.Table]] = {}
    expected: dict[str, list[dict[str, object]]] = {}
    usage = []
    for number, (work, result) in enumerate(rated):
        for name, stream in work.relations.items():
            relations.setdefault(name, []).append(apart(from_stream(stream), number))
        for name, stream in result.items():
            expected.setdefault(name, []).extend(apart(from_stream(stream), number).to_pylist())
        if work.usage is not None:
            moved = ", ".join(
                f"{name} + {number * APART} AS {name}" for name in ("subscription_id", "meter_id")
            )
            usage.append(f"SELECT * REPLACE ({moved}) FROM ({work.usage})")
    streams = {name: to_stream(pa.concat_tables(tables)) for name, tables in relations.items()}
    return Merged(BucketWork(streams, "\nUNION ALL\n".join(usage) or None), expected)


def has_formulas(work: BucketWork) -> bool:
    return from_stream(work.relations["formula"]).num_rows > 0


def apart(table: pa.Table, number: int) -> pa.Table:
    """The table with all its ids moved, so that they are those of rating ``number`` alone."""
    for place, field in enumerate(table.schema):
        column = table.column(field.name).combine_chunks()
        if field.name.endswith("_id") and pa.types.is_integer(field.type):
            table = table.set_column(place, field.name, _moved(column, number))
        elif field.name.endswith("_ids"):
            ids = pa.array(
                [each and [one + number * APART for one in each] for each in column.to_pylist()],
                field.type,
            )
            table = table.set_column(place, field.name, ids)
    return table


def _moved(ids: pa.Array, number: int) -> pa.Array:
    # Zero is nobody's id: it says that there is no owner.
    return pc.if_else(pc.equal(ids, 0), ids, pc.add(ids, number * APART))
