"""The measurements run as `make bench` runs them, on little data."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEYS = {
    "rate_events_per_s",
    "rate_vs_bare_sql",
    "bill_accounts_per_s",
    "bill_vs_bare_copy",
    "current_p95_ms",
    "current_fresh_p95_ms",
    "preview_p95_ms",
    "preview_fresh_p95_ms",
    "explain_p95_ms",
    "ingest_http_events_per_s",
    "ingest_file_events_per_s",
    "pdf_pages_per_s_core",
    "rest_requests_per_s",
    "rest_read_p95_ms",
    "rest_write_p95_ms",
    "rest_raises",
    "rest_fields_added",
}


def run_bench(output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", "--scale", "small", "--output", str(output)]
    return subprocess.run(
        [*command, *options], cwd=ROOT, text=True, capture_output=True, check=False
    )


@pytest.mark.slow
def test_every_key_of_the_report_is_measured(data_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "build" / "bench.json"

    # Without Spark, of which two clusters would have to be started.
    most = "rate,bill,current,http,file,pdf,rest"
    done = run_bench(output, "--only", most, "--folder", str(data_folder))

    assert done.returncode == 0, done.stderr
    report = json.loads(output.read_text())
    assert {key for key in KEYS if report.get(key, 0) > 0} == KEYS
    assert set(report["bill_peak_rss_mb"]) == {"30", "60"}
    assert all(megabytes > 20 for megabytes in report["bill_peak_rss_mb"].values())
    assert set(report["machine"]) >= {"processor", "cores", "memory_gb", "duckdb", "postgresql"}
    assert "Counterfoil's speeds" in done.stdout


def test_some_measurements_alone(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"

    done = run_bench(output, "--only", "pdf")

    assert done.returncode == 0, done.stderr
    assert KEYS & set(json.loads(output.read_text())) == {"pdf_pages_per_s_core"}


def test_an_unknown_measurement_is_refused(tmp_path: Path) -> None:
    done = run_bench(tmp_path / "bench.json", "--only", "pdf,xml")

    assert done.returncode == 2
    names = "rate, bill, current, http, file, pdf, rest, concurrent, spark"
    assert f"xml: not one of {names}" in done.stderr
