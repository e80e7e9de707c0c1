"""Schedules: jobs that are asked for again and again, at the times of a cron line.

A time that was missed, because no worker ran, is made up for once, as soon as one runs.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from counterfoil.core.periods.zones import known_time_zone, unknown_time_zone, zone
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.jobs.enqueuing import Request, enqueue_many, not_granted
from counterfoil.platform.metadata import Record
from counterfoil.platform.metadata.job_kinds import unknown_kind
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.exact_json import encode_json
from counterfoil.platform.records.unit_of_work import RecordCheck, UnitOfWork

SCHEDULER = "schedule"
"""Who asks for the jobs of schedules, in their history."""

CRON_FIELDS = 5

_CHANGED = ("kind", "payload", "at", "time_zone", "active")

# A kind that is not known here may be known to a newer version beside this one: it is told once,
# and stays due.
_DUE = """
SELECT id, external_id, kind, payload, at, time_zone, next_at FROM job_schedule
WHERE next_at <= :now AND (problem IS NULL OR kind = ANY(:kinds))
ORDER BY id FOR UPDATE SKIP LOCKED
"""

_GO_ON = """
UPDATE job_schedule s SET next_at = given.next_at, problem = given.problem,
       last_at = CASE WHEN given.problem IS NULL THEN :now ELSE s.last_at END,
       updated_at = :now, row_version = row_version + 1
FROM jsonb_to_recordset(CAST(:rows AS jsonb))
     AS given(id bigint, next_at timestamptz, problem text)
WHERE s.id = given.id
"""


def next_time(at: str, time_zone: str, after: datetime) -> datetime | None:
    """The first time of a cron line after an instant, in UTC; None when there is none.

    Where clocks skip the time it is the first moment after the skip, where they show it twice the
    first of both. Refused (422): a line that is none, or a time zone that is unknown.
    """
    if len(at.split()) != CRON_FIELDS:
        raise Refused(_no_cron_line(at, "has to have five parts"))
    try:
        times = CronSim(at, after.astimezone(zone(time_zone)))
    except CronSimError as fault:
        raise Refused(_no_cron_line(at, str(fault).lower())) from None
    # In the second of two equal hours it goes by the wall, and begins with what has been.
    return next((utc for time in times if (utc := time.astimezone(UTC)) > after), None)


def told(at: str) -> str:
    """A cron line in words."""
    return CronSim(at, datetime(2000, 1, 1, tzinfo=UTC)).explain()


def _no_cron_line(at: str, why: str) -> Problem:
    message = (
        f"{at!r} is no time: {why}; write minute, hour, day of month, month and day of week, "
        "such as 30 2 * * * for every day at 02:30, or 0 6 1 * * for the first of each month at 6"
    )
    return Problem("bad_schedule", message, "at")


def _check(uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]) -> list[Problem]:
    """Fill in when it is due next; refuse what could not be done then."""
    problems: list[Problem] = []
    for line, (row, old) in enumerate(zip(rows, old_rows, strict=True), start=1):
        place = line if len(rows) > 1 else None
        found = list(_find_problems(uow, row))
        if not found and not uow.asked_by.may_run(uow.catalogue.job_kind(row["kind"]).command):
            found = [not_granted(uow.catalogue.job_kind(row["kind"]))]
        problems += [Problem(p.code, p.message, p.field, p.allowed, line=place) for p in found]
        if found or (old is not None and all(row[name] == old[name] for name in _CHANGED)):
            continue
        row["problem"] = None
        row["next_at"] = next_time(row["at"], row["time_zone"], uow.now) if row["active"] else None
    return problems


def _find_problems(uow: UnitOfWork, row: Record) -> Iterator[Problem]:
    kinds = uow.catalogue.job_kinds
    if row["kind"] not in kinds:
        yield unknown_kind(row["kind"], tuple(kinds))
    else:
        try:
            kinds[row["kind"]].read_payload(row["payload"] or {})
        except Refused as refused:
            yield from refused.problems
    if not known_time_zone(row["time_zone"]):
        yield unknown_time_zone(row["time_zone"])
        return
    try:
        if next_time(row["at"], row["time_zone"], uow.now) is None:
            yield Problem("bad_schedule", "never comes", "at")
    except Refused as refused:
        yield from refused.problems


CHECKS: dict[str, RecordCheck] = {"job_schedule": _check}


def enqueue_scheduled(database: Database, now: datetime) -> int:
    """Ask for the jobs of the schedules that are due; how many. Many may do so at once.

    A job from the last time that still waits is the one; one that still runs is run once more.
    """
    with database.transaction(now=now, source="job", actor=SCHEDULER) as uow:
        kinds = uow.catalogue.job_kinds
        due = uow.query(_DUE, now=uow.now, kinds=list(kinds))
        if not due:
            return 0
        requests: list[Request] = []
        going_on: list[Record] = []
        for row in due:
            problems = list(_find_problems(uow, row))
            why = "; ".join(map(str, problems))[:1000] or None
            following = row["next_at"] if row["kind"] not in kinds else None
            if not problems:
                following = next_time(row["at"], row["time_zone"], uow.now)
            going_on.append({"id": row["id"], "next_at": following, "problem": why})
            if not problems:
                requests.append(_request(row))
        enqueue_many(uow, requests)
        uow.execute(_GO_ON, rows=encode_json(going_on), now=uow.now)
        return len(requests)


def _request(row: Record) -> Request:
    origin = f"job-schedules/{row['external_id']}"
    return Request(
        row["kind"], row["payload"] or {}, origin, origin=origin, time_zone=row["time_zone"]
    )


def make_schedules(uow: UnitOfWork, schedules: Sequence[Record]) -> int:
    """Create those of the program's own schedules that there are not yet; how many.

    Others can change them and set them inactive; one that was deleted comes again.
    """
    uow.query("SELECT pg_advisory_xact_lock(hashtextextended('built-in schedules', 0))")
    names = [one["external_id"] for one in schedules]
    known = uow.ids_by("job_schedule", "external_id", names)
    missing = [one for one in schedules if one["external_id"] not in known]
    return len(uow.create_many("job_schedule", missing))
