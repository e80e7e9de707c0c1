"""``counterfoil demo`` as people run it, also when it is killed."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from tests.memory import quick_folder

from counterfoil.interfaces.demo.parameters import settle_parameters

STAGES = ("Write usage files", "Compact usage", "Bill the month", "Print invoices")
"""After these it is killed: while importing, billing, printing and selling."""


def command(*more: str) -> list[str]:
    program = "from counterfoil.interfaces.cli.main import main; main()"
    return [sys.executable, "-c", program, "demo", "--accounts", "40", "--seed", "3", *more]


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERFOIL")}
    return {**kept, "COUNTERFOIL_HOME": str(home)}


def completed(home: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*more), env=environment(home), capture_output=True, text=True, check=False
    )


def kill_after(stage: str, home: Path) -> None:
    """Kill the demo with SIGKILL in the stage that follows this one."""
    with subprocess.Popen(
        command(),
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(stage):
                process.kill()
        assert process.wait() == -9


@pytest.mark.slow
def test_a_demo_killed_at_any_stage_ends_like_one_that_was_not() -> None:
    with quick_folder() as home, quick_folder() as other:
        whole = json.loads(completed(other, "--json").stdout)
        for stage in STAGES:
            kill_after(stage, home)
        mended = json.loads(completed(home, "--json").stdout)
        again = completed(home)
    assert mended["totals"] == whole["totals"]
    assert mended["defects"] == whole["defects"]
    assert len(mended["printed"]) == len(whole["printed"])
    assert again.returncode == 0, again.stderr
    assert "nothing was billed twice" in again.stdout


def test_another_company_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    settle_parameters(tmp_path / "demo", 40, 4, date(2026, 10, 1))
    refused = completed(tmp_path)
    assert refused.returncode == 2
    assert "COUNTERFOIL_HOME" in refused.stderr
