"""Cleaning up: what was kept for a time only and is not needed any more."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from counterfoil.platform.files.store import FileStore
from counterfoil.platform.metadata.customer import STORED_FILE
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.deleting import hidden_referrers, referrers
from counterfoil.platform.records.unit_of_work import UnitOfWork

_EXTRACTS = """
WITH gone AS (
    DELETE FROM extract WHERE status <> 'pending' AND created_at < :before RETURNING id
)
SELECT b.sha256 FROM extract_batch b JOIN gone ON gone.id = b.extract_id
"""

# A file that a job has exported goes with the job, unless a record points to it by now.
_EXPORTS = """
DELETE FROM stored_file f USING job j
WHERE j.state = 'done' AND j.finished_at < :before AND j.kind = 'export_records'
  AND f.id = CAST(j.result ->> 'stored_file' AS bigint) {unused}
RETURNING f.sha256
"""

# When these are gone: contents that neither another extract nor a stored file has.
_UNUSED = """
SELECT DISTINCT given.sha256 FROM unnest(CAST(:found AS text[])) AS given(sha256)
WHERE NOT EXISTS (SELECT 1 FROM extract_batch b WHERE b.sha256 = given.sha256)
  AND NOT EXISTS (SELECT 1 FROM stored_file f WHERE f.sha256 = given.sha256)
"""

_JOBS = "DELETE FROM job WHERE state IN ('done', 'cancelled') AND finished_at < :before"

_ANSWERS = "DELETE FROM idempotent_answer WHERE created_at < :before"


@dataclass(frozen=True, slots=True)
class Cleaned:
    """How many of each were deleted."""

    answers: int
    jobs: int
    files: int


def clean_up(
    database: Database,
    files: FileStore,
    *,
    now: datetime,
    answers: timedelta,
    extracts: timedelta,
    jobs: timedelta,
) -> Cleaned:
    """Delete answers to idempotency keys, extracts with their files, and jobs that were done or
    cancelled with what they have exported, each when it is older than that. Doing it again deletes
    nothing more.
    """
    oldest = max(now - extracts, now - jobs)
    with database.transaction(now=now) as uow:
        forgotten = uow.execute(_ANSWERS, before=now - answers)
        files_of = _EXPORTS.format(unused=_unreferenced(uow))
        found = [row["sha256"] for row in uow.query(files_of, before=now - jobs)]
        found += [row["sha256"] for row in uow.query(_EXTRACTS, before=now - extracts)]
        done = uow.execute(_JOBS, before=now - jobs)
        unused = [row["sha256"] for row in uow.query(_UNUSED, found=found)] if found else []
    removed = sum(files.remove(sha256, oldest.timestamp()) for sha256 in unused)
    return Cleaned(forgotten, done, removed)


def _unreferenced(uow: UnitOfWork) -> str:
    """That no field of any record, hidden ones included, points to the stored file ``f``."""
    hidden = hidden_referrers(uow.catalogue, STORED_FILE)
    return "".join(
        f' AND NOT EXISTS (SELECT 1 FROM "{one.entity.name}" r WHERE r."{one.field.name}" = f.id)'
        for one in (*referrers(uow.catalogue, STORED_FILE), *hidden)
    )
