"""``counterfoil jobs``: asked for, scheduled, run and decided on the command line."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from tests.interfaces.cli.test_serve import COMMAND, environment
from typer.testing import CliRunner

from counterfoil.bootstrap import Organisation, Settings
from counterfoil.interfaces.cli.main import app

Run = Callable[..., Result]


@pytest.fixture
def run(organisation: Organisation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line on the scratch organisation."""
    monkeypatch.setenv("COUNTERFOIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COUNTERFOIL_DATABASE_URL", organisation.database.url)
    return lambda *arguments: CliRunner().invoke(app, ["jobs", *arguments])


def answered(run: Run, *arguments: str) -> object:
    answer = run(*arguments, "--json")
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


def test_a_job_is_asked_for_run_and_decided(run: Run, organisation: Organisation) -> None:
    kinds = answered(run, "kinds")
    assert isinstance(kinds, list)
    assert {"kind": "run_bills", "payload": "billing_date, account, finalize"}.items() <= next(
        one for one in kinds if one["kind"] == "run_bills"
    ).items()
    made = answered(run, "enqueue", "run_bills", "account=ACME", "--key", "A")
    assert made["payload"] == {"account": "ACME", "finalize": True}  # type: ignore[index]
    (ran,) = answered(run, "run")  # type: ignore[misc]
    assert (ran["kind"], ran["state"]) == ("run_bills", "failed")
    assert ran["error"] == "account: there is no account 'ACME'"
    with organisation.database.transaction(now=organisation.clock()) as uow:
        uow.create("account", {"external_id": "ACME", "name": "Acme"})
        uow.create("seller", {"name": "Seller", "country": "US"})
    (failed,) = answered(run, "list", "--state", "failed")  # type: ignore[misc]
    assert run("retry", str(failed["id"])).exit_code == 0
    assert "waiting" in run("list").stdout
    assert answered(run, "cancel", str(failed["id"]))[0]["state"] == "cancelled"  # type: ignore[index]
    (later,) = [answered(run, "enqueue", "refresh_drafts", "--not-before", "2100-01-01")]
    assert later["due_at"] == "2100-01-01T00:00:00+00:00"  # type: ignore[index]
    assert answered(run, "run") == []


def test_a_schedule_is_made_changed_and_told(run: Run) -> None:
    nightly = ("schedule", "nightly", "run_bills", "finalize=false", "--time-zone", "Asia/Tokyo")
    made = answered(run, *nightly, "--at", "30 2 * * *")
    assert made["in_words"] == "At 02:30 every day"  # type: ignore[index]
    assert str(made["next_at"]).endswith("17:30:00+00:00")  # type: ignore[index]
    off = answered(run, *nightly, "--off")
    assert (off["at"], off["next_at"]) == ("0 2 * * *", None)  # type: ignore[index]
    assert run("run").exit_code == 0
    names = [row["external_id"] for row in answered(run, "schedules")]  # type: ignore[attr-defined]
    assert names == ["clean-up", "nightly"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("enqueue", "bill"), "there is no kind of job 'bill'"),
        (("enqueue", "run_bills", "size=1"), "run_bills has no such field"),
        (("enqueue", "run_bills", "billing_date=soon"), "must be a date"),
        (("schedule", "x", "run_bills", "--at", "daily"), "such as 30 2 * * *"),
        (("retry", "7"), "there is no job 7"),
        (("list", "--state", "dead"), "unknown state 'dead'"),
    ],
)
def test_what_is_wrong_is_refused(run: Run, arguments: tuple[str, ...], said: str) -> None:
    answer = run(*arguments)
    assert answer.exit_code == 2, answer.output
    assert said in answer.output


def test_a_worker_runs_jobs_until_it_is_told_to_stop(
    run: Run, organisation: Organisation, server: Settings
) -> None:
    job = answered(run, "enqueue", "renew_subscriptions")["id"]  # type: ignore[index]
    worker = subprocess.Popen(
        [*COMMAND[:-1], "jobs", "work"],
        env=environment(Settings(server.home, organisation.database.url)),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    said = {worker.stdout.readline() for _ in range(2)}
    assert said == {"Working. Ctrl-C stops it.\n", f"job {job} renew_subscriptions: done\n"}
    worker.send_signal(signal.SIGTERM)
    rest, _ = worker.communicate(timeout=60)
    assert (worker.returncode, rest) == (0, "Stopped.\n")
