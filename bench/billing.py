"""Accounts billed per second, from usage to stored final invoices, against the bare COPY.

The bare side reads the very rows a bill run has stored back out, and copies them into empty
tables of the same columns, indexes and foreign keys, in one transaction of one connection.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from sqlalchemy import make_url

from bench.company import add_usage, make_company
from counterfoil.bootstrap import Organisation, Settings, scratch_organisation

STORED = ("invoice", "rated_charge", "invoice_line")
"""What a bill run stores, in the order in which it can be copied."""

WORKERS = (1, 2)
_SECONDS_BETWEEN_LOOKS = 0.05
_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BillRun:
    """One bill run over a whole company; ``peak_rss_mb`` sums its processes, not PostgreSQL."""

    workers: int
    seconds: float
    invoices: int
    lines: int
    peak_rss_mb: int


@dataclass(frozen=True, slots=True)
class BillingResult:
    """The runs over one company, by number of workers, and the seconds of the bare COPY."""

    accounts: int
    events: int
    runs: tuple[BillRun, ...]
    bare_seconds: float

    @property
    def best(self) -> BillRun:
        """The fastest of the runs."""
        return min(self.runs, key=lambda run: run.seconds)


def measure_billing(settings: Settings, accounts: int) -> BillingResult:
    """Make a company of so many billed accounts with a month's usage and bill it."""
    with scratch_organisation(settings) as organisation:
        make_company(organisation, accounts)
        events = add_usage(organisation, accounts)
        runs: list[BillRun] = []
        with _connect(organisation) as connection:
            for workers in WORKERS:
                if runs:
                    _forget_bills(connection)
                connection.execute("CHECKPOINT")
                runs.append(_bill(organisation, workers))
            connection.execute("CHECKPOINT")
            bare_seconds = _copy_bare(connection, organisation.home)
    for run in runs:
        if run.invoices != accounts:
            raise RuntimeError(f"{run.invoices} invoices for {accounts} accounts")
    return BillingResult(accounts, events, tuple(runs), bare_seconds)


def _connect(organisation: Organisation) -> psycopg.Connection[tuple[object, ...]]:
    url = make_url(organisation.database.url).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


def _bill(organisation: Organisation, workers: int) -> BillRun:
    folder = str(organisation.usage_store.folder)
    command = [sys.executable, "-m", "bench.bill_run", organisation.database.url, folder]
    process = subprocess.Popen(
        [*command, str(workers)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, _memory_of(process.pid))
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    answer, _ = process.communicate()
    if process.returncode or json.loads(answer)["skipped"]:
        raise RuntimeError(f"the bill run failed: {answer}")
    found = json.loads(answer)
    return BillRun(
        workers, found["seconds"], found["invoices"], found["lines"], round(peak / _MEGABYTE)
    )


def _memory_of(pid: int) -> int:
    """Resident bytes of a process and its children."""
    total = 0
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def _forget_bills(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Make what was billed due again, and the tables as new."""
    connection.execute("TRUNCATE bill_run, number_series, invoice CASCADE")
    connection.execute(
        "UPDATE subscription_charge SET billed_through = CASE WHEN charge_id IN "
        "(SELECT id FROM charge WHERE kind = 'usage') THEN DATE '2026-10-01' "
        "ELSE DATE '2026-11-01' END"
    )
    connection.execute("VACUUM FULL ANALYZE subscription_charge")


def _copy_bare(connection: psycopg.Connection[tuple[object, ...]], folder: Path) -> float:
    """Seconds to copy the stored rows into empty tables like their own, committed."""
    for name in STORED:
        with (
            (folder / f"{name}.csv").open("wb") as file,
            connection.cursor() as cursor,
            cursor.copy(f"COPY (SELECT * FROM {name} ORDER BY id) TO STDOUT (FORMAT csv)") as copy,
        ):
            for block in copy:
                file.write(block)
    for name in STORED:
        connection.execute(f"CREATE TABLE bare_{name} (LIKE {name} INCLUDING ALL)")
    for name in STORED:
        _add_foreign_keys(connection, name)
    begin = time.perf_counter()
    with connection.transaction():
        for name in STORED:
            with (
                (folder / f"{name}.csv").open("rb") as file,
                connection.cursor() as cursor,
                cursor.copy(f"COPY bare_{name} FROM STDIN (FORMAT csv)") as copy,
            ):
                while block := file.read(_MEGABYTE):
                    copy.write(block)
    return time.perf_counter() - begin


def _add_foreign_keys(connection: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    definitions = connection.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = %s::regclass AND contype = 'f'",
        [name],
    ).fetchall()
    for (definition,) in definitions:
        own = str(definition)
        for target in STORED:
            own = own.replace(f"REFERENCES {target}(", f"REFERENCES bare_{target}(")
        connection.execute(f"ALTER TABLE bare_{name} ADD {own}")
