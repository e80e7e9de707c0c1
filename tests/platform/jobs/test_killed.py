"""A worker that is killed loses nothing: the job is run again, and what it did is not doubled."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.platform.jobs.conftest import NOW, SETTLE, Office, await_lock
from tests.platform.jobs.work_child import rule

from counterfoil.platform.jobs.enqueuing import enqueue
from counterfoil.platform.jobs.working import INTERRUPTED, Assignment

CHILD = Path(__file__).with_name("work_child.py")


def killed(office: Office, moment: str) -> None:
    child = [sys.executable, str(CHILD), office.database.url, moment]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(child, check=False, timeout=60, env=environment)
    assert ended.returncode == -signal.SIGKILL
    await_lock(office)


@pytest.mark.parametrize("moment", ["begun", "worked"])
def test_a_job_whose_worker_was_killed_is_run_again(office: Office, moment: str) -> None:
    with office.database.transaction(now=NOW) as uow:
        enqueue(uow, SETTLE, {}, key="S")
    killed(office, moment)
    assert office.jobs("state", "attempts") == [("running", 1)]

    def settle(job: Assignment) -> None:
        with job.database.transaction(now=job.now) as uow:
            uow.upsert_many("mail_rule", "external_id", [rule()])

    (run,) = office.worker({"settle": settle}).run_due()
    assert (run.state, run.attempt) == ("done", 2)
    with office.database.transaction(now=NOW) as uow:
        assert uow.execute("DELETE FROM mail_rule") == 1


def test_a_job_that_kills_its_workers_is_given_up(office: Office) -> None:
    with office.database.transaction(now=NOW) as uow:
        enqueue(uow, SETTLE, {})
        uow.execute("UPDATE job SET state = 'running', attempts = 3, failures = 2")
    (run,) = office.worker({"settle": lambda _job: None}).run_due()
    assert (run.state, run.error) == ("failed", INTERRUPTED)
    assert office.jobs("state", "error") == [("failed", INTERRUPTED)]
