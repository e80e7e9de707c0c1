"""The memory that rating takes, bucket by bucket, in a process of its own.

``python -m bench.rating_memory FOLDER`` rates the buckets that :func:`write_buckets` wrote below
the folder, one after the other as a bill run does, and prints seconds and peak memory as JSON.
"""

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.rating import EVENTS_PER_SUBSCRIPTION, METERS, make_subscriptions, rate
from counterfoil.platform.engine.duck import open_engine

EVENTS_PER_BUCKET = 250_000
MEMORY = "512MB"
"""What DuckDB may take before it spills to the disk."""

_BUCKET = """
COPY (
    SELECT 'bench' AS source, 'e' || (i + {start}) AS event_id,
           TIMESTAMP '2026-10-01' + to_seconds(CAST(hash(i, 1) % 2678400 AS BIGINT)) AS time,
           CAST(i * 7919 % {subscriptions} + 1 AS BIGINT) AS subscription_id,
           CAST(i // {subscriptions} % {meters} + 1 AS BIGINT) AS meter_id,
           CAST(hash(i, 4) % 3600 + 1 AS DECIMAL(38,15)) AS quantity,
           1::BIGINT AS batch_id, i AS line, '{{}}' AS attributes,
           CAST(quantity * 1000000 AS BIGINT) AS millionths
    FROM range({events}) t(i) ORDER BY subscription_id, time
) TO '{path}' (FORMAT parquet, COMPRESSION zstd)
"""


@dataclass(frozen=True, slots=True)
class RatingMemory:
    """What rating so many events took."""

    events: int
    seconds: float
    peak_rss_mb: int


def measure_rating_memory(folder: Path, events: int) -> RatingMemory:
    """Write the events below ``folder`` and rate them in a process of its own."""
    folder.mkdir()
    write_buckets(folder, events)
    command = [sys.executable, "-m", "bench.rating_memory", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    for path in folder.glob("*.parquet"):
        path.unlink()
    return RatingMemory(events, measured["seconds"], measured["peak_rss_mb"])


def write_buckets(folder: Path, events: int) -> None:
    """One file for each bucket, with subscriptions of its own."""
    with open_engine() as engine:
        for start in range(0, events, EVENTS_PER_BUCKET):
            some = min(EVENTS_PER_BUCKET, events - start)
            path = folder / f"{start:012d}-{some}.parquet"
            engine.run(
                _BUCKET.format(
                    start=start,
                    events=some,
                    subscriptions=max(some // EVENTS_PER_SUBSCRIPTION, 1),
                    meters=METERS,
                    path=path,
                )
            )


def main() -> None:
    """Rate bucket after bucket."""
    folder = Path(sys.argv[1])
    begin = time.perf_counter()
    for path in sorted(folder.glob("*.parquet")):
        events = int(path.stem.partition("-")[2])
        with open_engine(memory_limit=MEMORY, temp_directory=folder / "spill") as engine:
            engine.run(f"CREATE VIEW usage AS SELECT * FROM read_parquet('{path}')")
            make_subscriptions(engine, max(events // EVENTS_PER_SUBSCRIPTION, 1))
            rate(engine)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"seconds": time.perf_counter() - begin, "peak_rss_mb": peak}))


if __name__ == "__main__":
    main()
