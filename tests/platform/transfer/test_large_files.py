"""Files longer than a chunk: killed and run again, beside each other, in flat memory."""

import itertools
import signal
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.refusals import TRY_AGAIN
from counterfoil.platform.transfer import importing
from counterfoil.platform.transfer.importing import ROWS_PER_CHUNK, Import, import_records
from counterfoil.platform.transfer.tables import open_table

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
CHILD = Path(__file__).with_name("import_child.py")


def accounts(path: Path, count: int) -> Path:
    lines = (f"A-{n:06},Account {n}\n" for n in range(count))
    path.write_text("external_id,name\n" + "".join(lines), encoding="utf-8")
    return path


def counted(database: Database, table: str) -> int:
    with database.transaction(now=NOW) as uow:
        return int(uow.query(f"SELECT count(*) AS n FROM {table}")[0]["n"])


def test_an_import_killed_in_the_middle_is_finished_by_running_it_again(
    database: Database, tmp_path: Path
):
    file = accounts(tmp_path / "accounts.csv", 4 * ROWS_PER_CHUNK)
    child = [sys.executable, str(CHILD), database.url, str(file)]
    assert subprocess.run(child, check=False, timeout=60).returncode == -signal.SIGKILL
    assert counted(database, "account") == 2 * ROWS_PER_CHUNK

    done = import_records(database, file, Import(entity="account"), now=NOW)
    assert (done.created, done.unchanged) == (2 * ROWS_PER_CHUNK, 2 * ROWS_PER_CHUNK)
    assert counted(database, "account") == counted(database, "record_change") == 8_000


def test_the_same_file_imported_twice_at_the_same_time_makes_its_records_once(
    database: Database, tmp_path: Path
):
    file = accounts(tmp_path / "accounts.csv", 5_000)
    with ThreadPoolExecutor(2) as pool:
        runs = list(
            pool.map(
                lambda _: import_records(database, file, Import(entity="account"), now=NOW),
                range(2),
            )
        )
    assert sum(done.created for done in runs) == 5_000
    assert [done.refused for done in runs] == [0, 0]
    assert counted(database, "account") == counted(database, "record_change") == 5_000


def test_a_chunk_that_others_were_in_the_way_of_is_saved_once(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = accounts(tmp_path / "accounts.csv", 3 * ROWS_PER_CHUNK)
    with file.open("a", encoding="utf-8") as more:
        more.write("BAD,\n")
    saved, attempts = importing.write_each, itertools.count(1)

    def disturbed(*arguments: Any) -> Any:
        outcomes = saved(*arguments)
        if next(attempts) in (2, 3, 6):
            raise Refused(Problem(TRY_AGAIN, "a deadlock"), status=503)
        return outcomes

    monkeypatch.setattr(importing, "write_each", disturbed)
    done = import_records(database, file, Import(entity="account"), now=NOW)
    assert (done.read, done.created, done.refused) == (6_001, 6_000, 1)
    assert [problem.line for problem in done.problems] == [6_002]
    assert counted(database, "account") == counted(database, "record_change") == 6_000


def test_reading_takes_no_more_memory_for_more_rows(tmp_path: Path):
    def peak(count: int) -> int:
        file = accounts(tmp_path / f"{count}.csv", count)
        tracemalloc.start()
        with open_table(file) as table:
            assert sum(1 for _ in table.rows) == count
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(1_000)
    assert peak(100_000) < 4 << 20
