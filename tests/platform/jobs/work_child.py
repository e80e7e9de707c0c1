"""A worker in a process of its own that kills itself at a moment of a job.

Arguments: database URL, moment. Moments: ``begun`` (nothing done), ``worked`` (its work is
committed, the job not recorded as done).
"""

import os
import signal
import sys

from tests.platform.jobs.conftest import KNOWN, NOW

from counterfoil.platform.jobs.working import Assignment, Worker
from counterfoil.platform.records.database import Database


def main(url: str, moment: str) -> None:
    def settle(job: Assignment) -> None:
        if moment == "worked":
            with job.database.transaction(now=job.now) as uow:
                uow.upsert_many("mail_rule", "external_id", [rule()])
        os.kill(os.getpid(), signal.SIGKILL)

    Worker(Database(url, KNOWN), {"settle": settle}, lambda: NOW).run_due()


def rule() -> dict[str, object]:
    """What the job makes, once."""
    return {"external_id": "SETTLED", "email": "a@b", "event_types": ["*"]}


if __name__ == "__main__":
    main(*sys.argv[1:])
