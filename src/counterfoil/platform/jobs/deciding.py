"""What people decide about jobs: run one again that was given up, or not at all one that waits."""

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.jobs.entities import STATES
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_RETRY = """
UPDATE job SET state = 'waiting', due_at = :now, failures = 0, open_key = key, finished_at = NULL,
       updated_at = :now, row_version = row_version + 1
WHERE id = :id
"""

_CANCEL = """
UPDATE job SET state = 'cancelled', open_key = NULL, finished_at = :now, updated_at = :now,
       row_version = row_version + 1
WHERE id = :id
"""

_OPEN = "SELECT id FROM job WHERE kind = :kind AND open_key = :key AND id <> :id"


def retry_job(uow: UnitOfWork, job_id: int) -> Record:
    """Make a job due now that waits, failed, was done or cancelled; the record.

    Refused: 404 unknown, 409 one that is running, or has the key of another open one.
    """
    job = _locked(uow, job_id)
    if job["state"] == "running":
        raise Refused(Problem("job_running", "is running just now", "state"), 409)
    whole = uow.unrestricted()
    others = whole.query(_OPEN, kind=job["kind"], key=job["key"], id=job_id)
    if others:
        message = f"job {others[0]['id']} with the same key is to be done already"
        raise Refused(Problem("not_unique", message, "key"), 409)
    whole.execute(_RETRY, id=job_id, now=uow.now)
    return uow.get("job", job_id)


def cancel_job(uow: UnitOfWork, job_id: int) -> Record:
    """End a job that waits, or has failed, without doing it; the record.

    Refused: 404 unknown, 409 one that is running, done or cancelled.
    """
    job = _locked(uow, job_id)
    if job["state"] not in ("waiting", "failed"):
        message = f"is {job['state']}; only what waits or has failed can be cancelled"
        raise Refused(Problem("not_waiting", message, "state"), 409)
    uow.unrestricted().execute(_CANCEL, id=job_id, now=uow.now)
    return uow.get("job", job_id)


def _locked(uow: UnitOfWork, job_id: int) -> Record:
    uow.get("job", job_id)
    rows = uow.unrestricted().query(
        "SELECT kind, key, state FROM job WHERE id = :id FOR UPDATE", id=job_id
    )
    return rows[0]


def list_jobs(uow: UnitOfWork, *, state: str | None = None, limit: int = 50) -> list[Record]:
    """The newest jobs; refuses (422) an unknown state, naming the allowed ones."""
    if state is not None and state not in STATES:
        raise Refused(Problem("unknown_value", f"unknown state {state!r}", "state", STATES))
    return uow.query(
        "SELECT id, state, kind, key, payload, due_at, attempts, error, origin, enqueued_by,"
        " finished_at FROM job"
        f"{'' if state is None else ' WHERE state = :state'} ORDER BY id DESC LIMIT :limit",
        **({} if state is None else {"state": state}),
        limit=limit,
    )
