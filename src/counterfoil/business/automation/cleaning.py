"""Cleaning up: what was kept for a time only and is not needed any more."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from counterfoil.platform.files.store import FileStore
from counterfoil.platform.records.database import Database

_EXTRACTS = """
WITH gone AS (
    DELETE FROM extract WHERE status <> 'pending' AND created_at < :before RETURNING id
)
SELECT b.sha256 FROM extract_batch b JOIN gone ON gone.id = b.extract_id
"""

# After the extracts are gone: contents that neither another extract nor a stored file has.
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
    extract_files: int


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
    cancelled, each when it is older than that. Doing it again deletes nothing more.
    """
    oldest = now - extracts
    with database.transaction(now=now) as uow:
        forgotten = uow.execute(_ANSWERS, before=now - answers)
        done = uow.execute(_JOBS, before=now - jobs)
        found = [row["sha256"] for row in uow.query(_EXTRACTS, before=oldest)]
        unused = [row["sha256"] for row in uow.query(_UNUSED, found=found)] if found else []
    removed = sum(files.remove(sha256, oldest.timestamp()) for sha256 in unused)
    return Cleaned(forgotten, done, removed)
