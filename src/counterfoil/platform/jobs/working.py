"""Working: jobs that are due are run until they are done or given up.

Who runs a job holds an advisory lock on it in a transaction that does nothing else, so that a run
of hours keeps nothing from being vacuumed. When the process dies, PostgreSQL lets the lock go, and
the job, which is still marked as running, is run again. So every job is run at least once, and
what it does has to be harmless when it is done twice.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, cast

from counterfoil.core.periods.zones import zone
from counterfoil.core.problems import Refused
from counterfoil.platform.jobs.retries import next_attempt
from counterfoil.platform.metadata import Record
from counterfoil.platform.outbox.emitting import EventType, emit
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.exact_json import encode_json, plain
from counterfoil.platform.records.unit_of_work import UnitOfWork

JOB_FAILED = EventType("job.failed", "A job was given up, and waits for somebody to retry it.")
EVENT_TYPES = (JOB_FAILED,)

LONGEST_ERROR = 2000
PASSING = (409, 503)
"""With these a refusal is none for good: what is in the way now may be gone later."""
SOONEST = timedelta(seconds=1)
"""How long a job that has to wait does so at least."""

INTERRUPTED = "the process that ran it ended before it was done"

log = logging.getLogger(__name__)


class NotYet(Exception):  # noqa: N818 - it is an answer, not a fault of the program
    """Raised by a handler that has to wait: the job is due again at ``at``; nothing has failed."""

    def __init__(self, at: datetime, reason: str = "") -> None:
        self.at = at
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A job as its handler gets it.

    ``database`` acts in the name of who has asked for the job; the history of what is written
    through it says source ``job`` and request ``jobs/17``. ``now`` is when the attempt began, in
    the time zone of the job, and ``attempt`` counts from 1.
    """

    job_id: int
    kind: str
    attempt: int
    payload: Record
    database: Database
    now: datetime

    @property
    def today(self) -> date:
        """The day it is in the time zone of the job."""
        return self.now.date()


Handler = Callable[[Assignment], Mapping[str, Any] | None]
"""Does a job; what it answers is kept as the job's result.

It does so in transactions of its own and is harmless when it is run again, whatever it had done
before. Refused (other than 409 and 503) gives the job up at once; any other exception is tried
again.
"""


@dataclass(frozen=True, slots=True)
class Run:
    """An attempt that was made, and the state the job is in now."""

    job_id: int
    kind: str
    attempt: int
    state: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of an attempt: nothing wrong, or an error and whether it may be tried again."""

    result: Mapping[str, Any] | None = None
    error: str = ""
    final: bool = False
    later: datetime | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """Runs jobs, from any number of threads and processes; never one of them twice at a time.

    Only jobs of the kinds in ``handlers`` are taken: others wait for a worker that knows them.
    """

    database: Database
    handlers: Mapping[str, Handler]
    clock: Callable[[], datetime] = field(repr=False)

    def quick(self) -> "Worker":
        """A worker for all but the lengthy kinds."""
        kinds = self.database.catalogue.job_kinds
        quick = {name: one for name, one in self.handlers.items() if not kinds[name].lengthy}
        return replace(self, handlers=quick)

    def run_next(self, until: datetime | None = None) -> Run | None:
        """Run the job that has been due for longest, or None when nothing was due ``until`` then,
        which is now unless it is told."""
        passed: list[int] = []
        until = until or self.clock()
        # Mostly the first one is had; others are asked for when somebody else was faster.
        while True:
            with self._holding(until, passed) as job_id:
                if job_id is None:
                    return None
                job = self._claim(job_id)
                if job is not None:
                    outcome = self._attempt(job)
                    state = self._record(job, outcome)
                    return Run(job_id, job["kind"], job["attempts"], state, outcome.error)
                passed += {job_id, *self._asked_for_just_now(until, passed)}

    def run_due(self) -> list[Run]:
        """Run everything that is due now, each job once; what fails is due later again."""
        until = self.clock()
        made: list[Run] = []
        while (run := self.run_next(until)) is not None:
            made.append(run)
        return made

    @contextmanager
    def _holding(self, until: datetime, passed: Sequence[int]) -> Iterator[int | None]:
        """The id of a job that is due, held until the end so that nobody else runs it."""
        with self.database.transaction(now=self.clock(), source="job") as keeper:
            # Servers may be set to end transactions that do nothing or last long; this one has to.
            keeper.query(_UNBOUNDED)
            kinds = sorted(self.handlers)
            rows = keeper.query(_HOLD, until=until, kinds=kinds, passed=list(passed))
            yield cast("int", rows[0]["id"]) if rows else None

    def _claim(self, job_id: int) -> Record | None:
        """Mark it as running; None when somebody else has run it or is asking for it just now."""
        now = self.clock()
        with self.database.transaction(now=now, source="job") as uow:
            rows = uow.query(_LOCKED, id=job_id, now=now)
            if not rows:
                return None
            (job,) = rows
            job["attempts"] += 1
            job["failures"] += job["lost"]
            job["most_failures"] = uow.catalogue.job_kind(job["kind"]).most_failures
            uow.execute(
                _START, id=job_id, now=now, attempts=job["attempts"], failures=job["failures"]
            )
            return job

    def _asked_for_just_now(self, until: datetime, passed: Sequence[int]) -> list[int]:
        """The ids of jobs that wait until others have ended who ask for them, however many."""
        with self.database.transaction(now=self.clock(), source="job") as uow:
            rows = uow.query(_ASKED_FOR, until=until, passed=list(passed))
            return [row["id"] for row in rows]

    def _attempt(self, job: Record) -> _Outcome:
        if job["lost"]:
            log.warning("job %s: %s", job["id"], INTERRUPTED)
            if next_attempt(job["failures"], self.clock(), job["most_failures"]) is None:
                return _Outcome(error=INTERRUPTED, final=True)
        database = self.database.acting(
            actor=job["enqueued_by"],
            source="job",
            request_id=f"jobs/{job['id']}",
            depth=job["depth"],
        )
        try:
            kind = database.catalogue.job_kind(job["kind"])
            assignment = Assignment(
                job_id=job["id"],
                kind=job["kind"],
                attempt=job["attempts"],
                payload=kind.read_payload(job["payload"]),
                database=database,
                now=self.clock().astimezone(zone(job["time_zone"])),
            )
            return _Outcome(self.handlers[job["kind"]](assignment))
        except NotYet as wait:
            return _Outcome(error=wait.reason, later=wait.at)
        except Refused as refused:
            return _Outcome(error=str(refused), final=refused.status not in PASSING)
        except Exception as fault:
            log.exception("job %s (%s) failed", job["id"], job["kind"])
            return _Outcome(error=f"{type(fault).__name__}: {fault}")

    def _record(self, job: Record, outcome: _Outcome) -> str:
        """Keep what came of the attempt, unless the job was lost to another worker meanwhile."""
        now = self.clock()
        error = _kept(outcome.error)
        failed = bool(outcome.error) and outcome.later is None
        failures = job["failures"] + failed
        due_at = outcome.later and max(outcome.later, now + SOONEST)
        if failed and not outcome.final:
            due_at = next_attempt(failures, now, job["most_failures"])
        statement = _FAIL if failed else _WAIT if outcome.later else _DONE
        with self.database.transaction(now=now, source="job") as uow:
            rows = uow.query(
                statement + " RETURNING state",
                id=job["id"],
                now=now,
                attempts=job["attempts"],
                failures=failures,
                error=error or None,
                due_at=due_at or now,
                final=failed and due_at is None,
                result=encode_json(plain(outcome.result)) if outcome.result else None,
            )
            state = str(rows[0]["state"]) if rows else "taken"
            if state == "failed":
                _tell_failed(uow, job, error)
        return state


def _kept(error: str) -> str:
    """An error as the database can keep it: others may say anything."""
    clean = error.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
    return clean[:LONGEST_ERROR]


def _tell_failed(uow: UnitOfWork, job: Record, error: str) -> None:
    subject = f"jobs/{job['id']}"
    told = {
        "job_id": job["id"],
        "kind": job["kind"],
        "origin": job["origin"],
        "error": error,
    }
    emit(uow, JOB_FAILED, key=f"{subject}/{job['attempts']}", subject=subject, data=told)


# Not every version of PostgreSQL has the second.
_UNBOUNDED = """
SELECT set_config(name, '0', true) FROM pg_settings
WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')
"""

# Two looks into the index, however much waits. The lock is tried row after row in the order of the
# CTE, until one is taken.
_HOLD = """
WITH due AS MATERIALIZED (
    SELECT id FROM (
        (SELECT id, due_at FROM job
         WHERE state = 'running' AND due_at <= :until AND kind = ANY(:kinds)
           AND id <> ALL(:passed)
         ORDER BY due_at, id LIMIT 200)
        UNION ALL
        (SELECT id, due_at FROM job
         WHERE state = 'waiting' AND due_at <= :until AND kind = ANY(:kinds)
           AND id <> ALL(:passed)
         ORDER BY due_at, id LIMIT 200)
    ) AS first ORDER BY due_at, id
)
SELECT id FROM due WHERE pg_try_advisory_xact_lock(hashtextextended('jobs/' || id, 0)) LIMIT 1
"""

# Who asks for a waiting job just now holds its row: it is run when he is done.
_LOCKED = """
SELECT id, kind, payload, state = 'running' AS lost, time_zone, enqueued_by, origin, depth,
       attempts, failures
FROM job
WHERE id = :id AND state IN ('waiting', 'running') AND due_at <= :now
FOR UPDATE SKIP LOCKED
"""

_ASKED_FOR = """
WITH due AS MATERIALIZED (
    SELECT id FROM job
    WHERE state = 'waiting' AND due_at <= :until AND id <> ALL(:passed)
    ORDER BY due_at, id LIMIT 1000
), free AS MATERIALIZED (
    SELECT id FROM job WHERE id IN (SELECT id FROM due) FOR UPDATE SKIP LOCKED
)
SELECT id FROM due EXCEPT SELECT id FROM free
"""

_START = """
UPDATE job SET state = 'running', attempts = :attempts, failures = :failures,
       started_at = :now, updated_at = :now, row_version = row_version + 1
WHERE id = :id
"""

_DONE = """
UPDATE job SET state = CASE WHEN again_at IS NULL THEN 'done' ELSE 'waiting' END,
       due_at = coalesce(again_at, due_at), again_at = NULL,
       open_key = CASE WHEN again_at IS NOT NULL THEN open_key END, failures = 0, error = NULL,
       result = CAST(:result AS jsonb), finished_at = CASE WHEN again_at IS NULL THEN :now END,
       updated_at = :now, row_version = row_version + 1
WHERE id = :id AND state = 'running' AND attempts = :attempts
"""

_WAIT = """
UPDATE job SET state = 'waiting', due_at = least(again_at, :due_at), again_at = NULL,
       failures = :failures, error = :error, updated_at = :now, row_version = row_version + 1
WHERE id = :id AND state = 'running' AND attempts = :attempts
"""

_FAIL = """
UPDATE job SET state = CASE WHEN :final AND again_at IS NULL THEN 'failed' ELSE 'waiting' END,
       due_at = least(again_at, :due_at), again_at = NULL,
       open_key = CASE WHEN NOT :final OR again_at IS NOT NULL THEN open_key END,
       failures = CASE WHEN again_at IS NULL THEN :failures ELSE 0 END, error = :error,
       finished_at = CASE WHEN :final AND again_at IS NULL THEN :now END,
       updated_at = :now, row_version = row_version + 1
WHERE id = :id AND state = 'running' AND attempts = :attempts
"""
