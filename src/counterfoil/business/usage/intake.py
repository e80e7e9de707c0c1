"""Taking records in: one batch's way through the mapping, to events and to rejected records."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from counterfoil.business.usage.collectors import Collector
from counterfoil.business.usage.mapping import mapping_statement
from counterfoil.business.usage.reading import Malformed
from counterfoil.business.usage.routing import Routing, place_routing
from counterfoil.platform.engine.duck import Engine

_TEXT_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """What became of the records of one batch; the counts add up to ``records_read``.

    ``duplicate`` are records whose (source, event id) was there before; they change nothing.
    ``skipped`` are records the collector declares not to be usage. ``already_imported`` means
    that the same file came before: the counts are those of the first time, and nothing changed.
    """

    batch_id: int
    file_name: str = ""
    records_read: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    skipped: int = 0
    rejected_by_reason: dict[str, int] = field(default_factory=dict)
    already_imported: bool = False

    def plus(self, taken: "Taken") -> "BatchSummary":
        """The summary with the records of one more chunk."""
        reasons = Counter(self.rejected_by_reason)
        reasons.update(taken.rejected["reason"].to_pylist())
        return replace(
            self,
            records_read=self.records_read + taken.records_read,
            accepted=self.accepted + taken.events.num_rows,
            rejected=self.rejected + taken.rejected.num_rows,
            skipped=self.skipped + taken.skipped,
            rejected_by_reason=dict(sorted(reasons.items())),
        )

    def without_duplicates(self, duplicate: int) -> "BatchSummary":
        """The summary after ``duplicate`` of the accepted records were found to be known."""
        return replace(self, accepted=self.accepted - duplicate, duplicate=duplicate)


@dataclass(frozen=True, slots=True)
class Taken:
    """The events (columns of the store) and the rejected records of one chunk.

    ``rejected`` has the columns batch_id, collector_id, line, reason, message, record (JSON).
    """

    records_read: int
    skipped: int
    events: pa.Table
    rejected: pa.Table


class Intake:
    """Maps chunk after chunk of one batch on an engine of its own."""

    def __init__(
        self, engine: Engine, collector: Collector, columns: Sequence[str], routing: Routing
    ) -> None:
        self._engine = engine
        self._collector = collector
        self._hashed = collector.declaration.fields["event_id"].content_hash
        self._statement = mapping_statement(
            collector.declaration, collector.external_id, columns, has_earlier=self._hashed
        )
        place_routing(engine, routing)
        engine.run("CREATE OR REPLACE TABLE earlier_content (content VARCHAR, occurrences BIGINT)")

    def take(self, records: pa.Table, malformed: Sequence[Malformed], batch_id: int) -> Taken:
        """Map and route raw records (see reading); ``malformed`` lines are rejected as such."""
        self._engine.register("raw", records)
        mapped = self._engine.arrow(self._statement)
        self._engine.unregister("raw")
        if self._hashed:
            self._remember(mapped)
        reason = mapped["reason"]
        accepted = mapped.filter(pc.is_null(reason))
        skipped = pc.sum(pc.equal(reason, "")).as_py() or 0
        rejected = mapped.filter(pc.fill_null(pc.not_equal(reason, ""), fill_value=False))
        kept = pa.concat_tables(
            [rejected.select(_REJECTED.names).cast(_REJECTED), _malformed_table(malformed)]
        ).sort_by("line")
        ids = {"batch_id": batch_id, "collector_id": self._collector.id}
        return Taken(
            mapped.num_rows + len(malformed),
            skipped,
            _with_constants(accepted, {"batch_id": batch_id}),
            _with_constants(kept, ids),
        )

    def _remember(self, mapped: pa.Table) -> None:
        """Count equal rows over the chunks, so that the n-th of a file has the same id again."""
        self._engine.register("mapped", mapped.select(["content"]))
        self._engine.run(
            "INSERT INTO earlier_content SELECT m.content, m.seen + coalesce(max(e.occurrences), 0)"
            " FROM (SELECT content, count(*) AS seen FROM mapped GROUP BY content) m"
            " LEFT JOIN earlier_content e ON e.content = m.content GROUP BY m.content, m.seen"
        )
        self._engine.unregister("mapped")


def _text_record(text: str) -> str:
    """The record of a line that has no fields, as JSON."""
    return msgspec.json.encode({"text": text}).decode()


def _malformed_table(malformed: Sequence[Malformed]) -> pa.Table:
    rows = [
        {
            "line": bad.line,
            "reason": "malformed_record",
            "message": bad.message,
            # PostgreSQL keeps no zero character.
            "record": _text_record(bad.text[:_TEXT_KEPT].replace("\0", " ")),
        }
        for bad in malformed
    ]
    return pa.Table.from_pylist(rows, schema=_REJECTED)


def _with_constants(table: pa.Table, constants: dict[str, int]) -> pa.Table:
    for name, value in constants.items():
        table = table.append_column(name, pa.repeat(pa.scalar(value, pa.int64()), table.num_rows))
    return table


_REJECTED = pa.schema(
    [
        ("line", pa.int64()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("record", pa.string()),
    ]
)
