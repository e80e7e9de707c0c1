"""Imports killed at any point, imports side by side, and a file far larger than memory allows."""

import os
import signal
import subprocess
import sys

import pytest

IMPORT = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path

from counterfoil.bootstrap import CATALOGUE, CHECKS
from counterfoil.business.usage import commands, store
from counterfoil.platform.records.database import Database

def die(*_arguments, **_named):
    os.kill(os.getpid(), signal.SIGKILL)

url, folder, path, moment = sys.argv[1:]
if moment == "after the first file is written":
    store.LARGEST_SEGMENT = 100
    whole = store.SegmentWriter.finish
    store.SegmentWriter.finish = lambda writer: (whole(writer), die())
elif moment == "after the rename":
    store._sync_folder = die
elif moment == "before the commit":
    commands.finish_batch = die
now = datetime(2026, 8, 5, 12, tzinfo=UTC)
summary = commands.import_file(
    Database(url, CATALOGUE, CHECKS), store.UsageStore(Path(folder)), "bridge", Path(path), now=now
)
print(summary.accepted, summary.duplicate, summary.already_imported)
"""


def begin(bridge, path, moment="never"):
    arguments = [bridge.database.url, str(bridge.store.folder), str(path), moment]
    return subprocess.Popen(
        [sys.executable, "-c", IMPORT, *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "moment", ["after the first file is written", "after the rename", "before the commit"]
)
def test_killed_import_leaves_nothing_visible_and_is_completed_by_the_next(bridge, moment):
    path = bridge.file(*[bridge.call(n) for n in range(250)], bridge.call(1, seconds="x"))
    killed = begin(bridge, path, moment)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert bridge.events() == []
    assert bridge.rejected() == []
    summary = bridge.load(path)
    assert (summary.accepted, summary.rejected, summary.already_imported) == (250, 1, False)
    assert len(bridge.events()) == 250


def test_two_processes_import_the_same_and_overlapping_files(bridge):
    rows = [bridge.call(n) for n in range(3000)]
    same, other = bridge.file(*rows[:2000]), bridge.file(*rows[1000:], name="other.csv")
    processes = [begin(bridge, path) for path in (same, other, same)]
    printed = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(bridge.events()) == 3000
    assert sorted(words[2] for words in printed) == ["False", "False", "True"]
    imported = [words for words in printed if words[2] == "False"]
    assert sum(int(words[0]) for words in imported) == 3000
    assert sum(int(words[1]) for words in imported) == 1000


@pytest.mark.slow
def test_memory_is_bounded_whatever_the_size_of_the_file(bridge):
    path = bridge.folder / "large.csv"
    note = "n" * 150
    with path.open("w") as file:
        file.write(bridge.header)
        for number in range(1_500_000):
            file.write(f"C{number},2026-07-10 09:00:00,4711,premier,dial_out,90,{note}\n")
    assert path.stat().st_size > 300_000_000

    process = begin(bridge, path)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    assert process.stdout.read().split() == ["1500000", "0", "False"]
    assert usage.ru_maxrss * 1024 < 1_500_000_000
    process.returncode = 0
