"""``python -m bench``: measures the speeds of docs/performance.md and writes build/bench.json.

Everything runs on data made for it, in scratch organisations on a PostgreSQL server of its own;
``--folder`` chooses the disk. The ratios compare two sides of one and the same run.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.util import get_temp_dir
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.billing import BillingResult, measure_billing
from bench.company import EVENTS_PER_ACCOUNT
from bench.contention import measure_contention
from bench.current import measure_current
from bench.ingest import measure_file, measure_http
from bench.machine import describe_machine
from bench.printing import LINES, measure_printing
from bench.rating import measure_rating
from bench.rating_memory import measure_rating_memory
from bench.rest import CLIENTS as REST_CLIENTS
from bench.rest import measure_rest
from bench.spark import measure_spark
from counterfoil.bootstrap import Settings, database_server, scratch_organisation
from counterfoil.platform.engine.spark import spark_missing

RESULT = Path(__file__).parents[1] / "build" / "bench.json"
MEASURES = ("rate", "bill", "current", "http", "file", "pdf", "rest", "concurrent", "spark")

Figures = dict[str, object]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much data each measurement gets."""

    rated_events: int
    memory_events: tuple[int, ...]
    rounds: int
    billed_accounts: tuple[int, ...]
    http_events: int
    file_records: int
    invoices: int
    spark_accounts: int
    current: tuple[int, int, int]
    """Accounts, events of one account, and rounds."""
    rest_seconds: float
    contention: tuple[int, float, int]
    """Processes, seconds and accounts; one process alone gets a third of the time."""


SCALES = {
    "small": Scale(
        50_000,
        (50_000,),
        1,
        (30, 60),
        2_000,
        5_000,
        1,
        100,
        (30, 500, 2),
        3.0,
        (4, 6.0, 20),
    ),
    "full": Scale(
        10_000_000,
        (1_000_000, 50_000_000),
        2,
        (5_000, 20_000),
        200_000,
        1_000_000,
        50,
        20_000,
        (20_000, 100_000, 40),
        60.0,
        (16, 60.0, 100),
    ),
}

console = Console(highlight=False)


def main() -> None:
    """Measure what is asked for, print it, and write it to ``build/bench.json``."""
    arguments = _arguments()
    scale = SCALES[arguments.scale]
    with tempfile.TemporaryDirectory(prefix="counterfoil-bench-", dir=arguments.folder) as folder:
        settings = Settings(Path(folder))
        # Scratch organisations keep their usage where Python keeps temporary files. The folder of
        # its processes is removed later than ours, so it is made before.
        get_temp_dir()
        tempfile.tempdir = folder
        with database_server(settings):
            with scratch_organisation(settings) as organisation:
                machine = describe_machine(organisation)
            figures: Figures = {}
            for name in MEASURES:
                if name in arguments.only:
                    figures |= _FIGURES[name](settings, scale)
    _print(machine, figures)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    report = {**figures, "scale": arguments.scale, "machine": machine}
    arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print(f"Written to {arguments.output}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the speeds.")
    parser.add_argument(
        "--only",
        type=_names,
        default=MEASURES,
        help=f"some of {','.join(MEASURES)}, with commas",
    )
    parser.add_argument("--scale", choices=tuple(SCALES), default="full")
    parser.add_argument("--folder", type=Path, help="where the data lies while it measures")
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        message = f"{', '.join(unknown)}: not one of {', '.join(MEASURES)}"
        raise argparse.ArgumentTypeError(message)
    return names


@contextmanager
def _measuring(what: str) -> Iterator[None]:
    begin = time.perf_counter()
    with console.status(f"{what} …"):
        yield
    console.print(f"{what}: done in {time.perf_counter() - begin:.0f} s")


def _rate(settings: Settings, scale: Scale) -> Figures:
    folder = settings.home / "rating"
    folder.mkdir()
    with _measuring(f"Rating {scale.rated_events:,} events, and the same in bare SQL"):
        result = measure_rating(folder, scale.rated_events, scale.rounds)
    memory: dict[str, int] = {}
    for events in scale.memory_events:
        with _measuring(f"The memory of rating {events:,} events, bucket by bucket"):
            one = measure_rating_memory(folder / f"memory-{events}", events)
        memory[str(events)] = one.peak_rss_mb
    return {
        "rate_events_per_s": round(result.events / result.seconds),
        "rate_vs_bare_sql": round(result.bare_seconds / result.seconds, 3),
        "rated_events": result.events,
        "rate_peak_rss_mb": memory,
    }


def _bill(settings: Settings, scale: Scale) -> Figures:
    results: list[BillingResult] = []
    for accounts in scale.billed_accounts:
        with _measuring(f"Billing {accounts:,} accounts, and the bare COPY of the same rows"):
            results.append(measure_billing(settings, accounts))
    last = results[-1]
    best = last.best
    return {
        "bill_accounts_per_s": round(last.accounts / best.seconds),
        "bill_vs_bare_copy": round(last.bare_seconds / best.seconds, 3),
        "bill_peak_rss_mb": {str(one.accounts): one.best.peak_rss_mb for one in results},
        "bill_runs": [
            {
                "accounts": one.accounts,
                "workers": run.workers,
                "accounts_per_s": round(one.accounts / run.seconds),
                "peak_rss_mb": run.peak_rss_mb,
            }
            for one in results
            for run in one.runs
        ],
        "bill_workers": best.workers,
        "accounts": last.accounts,
        "events": last.events,
        "events_per_account": EVENTS_PER_ACCOUNT,
        "lines": best.lines,
    }


def _file(settings: Settings, scale: Scale) -> Figures:
    with _measuring(f"Importing a file of {scale.file_records:,} records"):
        result = measure_file(settings, scale.file_records)
    return {
        "ingest_file_events_per_s": round(result.records / result.seconds),
        "file_records": result.records,
        "file_megabytes": round(result.megabytes, 1),
        "compact_events_per_s": round(result.records / result.compact_seconds),
    }


def _http(settings: Settings, scale: Scale) -> Figures:
    with _measuring(f"Posting {scale.http_events:,} events over HTTP"):
        result = measure_http(settings, scale.http_events)
    return {
        "ingest_http_events_per_s": round(result.events / result.seconds),
        "http_events": result.events,
        "http_clients": result.clients,
    }


def _pdf(_settings: Settings, scale: Scale) -> Figures:
    with _measuring(f"Printing {scale.invoices} invoices of {LINES} lines"):
        result = measure_printing(scale.invoices)
    return {
        "pdf_pages_per_s_core": round(result.pages_per_second_and_core, 1),
        "pdf_pages": result.pages,
    }


def _spark(settings: Settings, scale: Scale) -> Figures:
    missing = spark_missing()
    if missing is not None:
        console.print(f"Nothing is measured on Spark. {missing.message}")
        return {}
    accounts = scale.spark_accounts
    with _measuring(f"Rating {accounts * EVENTS_PER_ACCOUNT:,} events by buckets, also on Spark"):
        result = measure_spark(settings, accounts)
    per_second = {
        place: round(result.events / seconds) for place, seconds in result.seconds.items()
    }
    return {"bucket_events_per_s": per_second, "bucket_events": result.events}


def _current(settings: Settings, scale: Scale) -> Figures:
    accounts, events, rounds = scale.current
    with _measuring(f"Asking for accounts with {events:,} events among {accounts:,}"):
        result = measure_current(settings, accounts, events, rounds)
    return {
        "current_p95_ms": round(result.current),
        "current_fresh_p95_ms": round(result.current_fresh),
        "preview_p95_ms": round(result.preview),
        "preview_fresh_p95_ms": round(result.preview_fresh),
        "explain_p95_ms": round(result.explain),
        "current_events": result.events,
        "current_accounts": result.accounts,
    }


def _rest(settings: Settings, scale: Scale) -> Figures:
    with _measuring(f"{REST_CLIENTS} clients over REST for {scale.rest_seconds:.0f} s"):
        result = measure_rest(settings, scale.rest_seconds)
    return {
        "rest_requests_per_s": round(result.requests / result.seconds),
        "rest_read_p95_ms": round(result.read_p95_ms),
        "rest_write_p95_ms": round(result.write_p95_ms),
        "rest_seconds": round(result.seconds),
        "rest_raises": result.raises,
        "rest_conflicts": result.conflicts,
        "rest_fields_added": result.fields_added,
    }


def _concurrent(settings: Settings, scale: Scale) -> Figures:
    processes, seconds, accounts = scale.contention
    with _measuring(f"One process on {accounts} accounts for {seconds / 3:.0f} s"):
        alone = measure_contention(settings, 1, seconds / 3, accounts)
    with _measuring(f"{processes} processes on the same {accounts} accounts for {seconds:.0f} s"):
        result = measure_contention(settings, processes, seconds, accounts)
    return {
        "concurrent_per_s": round(result.done / result.seconds, 1),
        "concurrent_vs_alone": round(
            result.done / result.seconds / (alone.done / alone.seconds), 2
        ),
        "concurrent_p95_ms": round(result.p95_ms["all"]),
        "concurrent_p95_ms_by_kind": {
            kind: round(milliseconds) for kind, milliseconds in result.p95_ms.items()
        },
        "concurrent_refused": dict(sorted(result.refused.items())),
        "concurrent_processes": processes,
    }


_FIGURES: dict[str, Callable[[Settings, Scale], Figures]] = {
    "rate": _rate,
    "bill": _bill,
    "current": _current,
    "http": _http,
    "file": _file,
    "pdf": _pdf,
    "rest": _rest,
    "concurrent": _concurrent,
    "spark": _spark,
}

_ROWS: tuple[tuple[str, str, str], ...] = (
    ("rate_events_per_s", "Rating usage, events per second", "1,000,000"),
    ("rate_vs_bare_sql", "  speed of bare SQL = 1", "0.8"),
    ("bill_accounts_per_s", "Bill run, accounts per second", "2,000"),
    ("bill_vs_bare_copy", "  speed of the bare COPY of the same rows = 1", ""),
    ("current_p95_ms", "Current charges, 100,000 events, ms at p95", "150"),
    ("current_fresh_p95_ms", "  of events that are not compacted yet", "150"),
    ("preview_p95_ms", "Preview, 100,000 events, ms at p95", "150"),
    ("preview_fresh_p95_ms", "  of events that are not compacted yet", "150"),
    ("explain_p95_ms", "Explanation of a line, ms at p95", "150"),
    ("ingest_http_events_per_s", "Usage over HTTP, events per second", "50,000"),
    ("ingest_file_events_per_s", "Usage from a file, events per second", "150,000"),
    ("pdf_pages_per_s_core", "PDF pages per second and core", "40"),
    ("rest_requests_per_s", "REST while fields are added, requests per second", ""),
    ("rest_read_p95_ms", "  reading, ms at p95", ""),
    ("rest_write_p95_ms", "  writing, ms at p95", ""),
    ("concurrent_per_s", "Work on the same accounts by many processes, per second", ""),
    ("concurrent_vs_alone", "  work of one process alone = 1", ""),
    ("concurrent_p95_ms", "  ms at p95", ""),
)


_MEMORY = (
    ("rate_peak_rss_mb", "Rating of {:,} events, peak memory in MB"),
    ("bill_peak_rss_mb", "Bill run of {:,} accounts, peak memory in MB"),
)


def _print(machine: dict[str, str], figures: Figures) -> None:
    described = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items())
    table = Table(title="Counterfoil's speeds", caption=described)
    table.add_column("What")
    table.add_column("Measured", justify="right")
    table.add_column("Target (2 cores)", justify="right")
    for key, label, target in _ROWS:
        if key in figures:
            table.add_row(label, f"{figures[key]:,}", target)
    for key, label in _MEMORY:
        memory = figures.get(key)
        for number, megabytes in memory.items() if isinstance(memory, dict) else ():
            table.add_row(label.format(int(number)), f"{megabytes:,}", "flat")
    places = figures.get("bucket_events_per_s")
    if isinstance(places, dict):
        for place, per_second in places.items():
            table.add_row(f"Rating by buckets, events per second: {place}", f"{per_second:,}", "")
    console.print(table)


if __name__ == "__main__":
    main()
