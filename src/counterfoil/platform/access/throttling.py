"""Failed sign-ins are slowed down, per name and for all processes together.

Names that are not known are counted like others, so that an answer does not tell them apart.
"""

import hashlib

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.records.unit_of_work import UnitOfWork

FREE = 5
"""Failures in a row that cost no waiting."""

LONGEST_WAIT = 300
"""Seconds; the wait doubles with each further failure up to this."""

FORGOTTEN_AFTER = "15 minutes"


def name_hash(username: str) -> str:
    """What a name is counted under: nothing readable is kept of what somebody typed."""
    folded = username.casefold().encode("utf-8", "surrogateescape")
    return hashlib.sha256(folded).hexdigest()


def refuse_blocked(uow: UnitOfWork, username: str) -> None:
    """Refuse (429) a name under which too many sign-ins have failed just now."""
    rows = uow.query(
        "SELECT ceil(extract(epoch FROM blocked_until - :now))::int AS seconds"
        " FROM sign_in_failure WHERE name_hash = :name AND blocked_until > :now",
        name=name_hash(username),
        now=uow.now,
    )
    if rows:
        seconds = int(rows[0]["seconds"])
        message = f"too many sign-ins have failed; try again in {seconds} seconds"
        raise Refused(Problem("too_many_attempts", message), status=429, retry_after=seconds)


def count_failure(uow: UnitOfWork, username: str) -> None:
    """Count a failed sign-in, and forget old ones."""
    uow.execute(
        f"DELETE FROM sign_in_failure WHERE updated_at < :now - interval '{FORGOTTEN_AFTER}'",
        now=uow.now,
    )
    uow.execute(
        "INSERT INTO sign_in_failure AS known"
        " (created_at, updated_at, row_version, name_hash, failures)"
        " VALUES (:now, :now, 1, :name, 1)"
        " ON CONFLICT (name_hash) DO UPDATE SET updated_at = :now,"
        " row_version = known.row_version + 1, failures = known.failures + 1,"
        " blocked_until = CASE WHEN known.failures + 1 >= :free THEN CAST(:now AS timestamptz)"
        " + least(2 ^ least(known.failures + 1 - :free, 20), :longest) * interval '1 second' END",
        now=uow.now,
        name=name_hash(username),
        free=FREE,
        longest=LONGEST_WAIT,
    )


def forget_failures(uow: UnitOfWork, username: str) -> None:
    """A sign-in has succeeded: counting begins anew."""
    uow.execute("DELETE FROM sign_in_failure WHERE name_hash = :name", name=name_hash(username))
