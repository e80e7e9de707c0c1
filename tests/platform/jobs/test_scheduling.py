"""Jobs are asked for at the times of a schedule, by its clock; what was missed, once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from tests.platform.jobs.conftest import KNOWN, NOW, Office

from counterfoil.core.problems import Refused
from counterfoil.platform.jobs.scheduling import (
    CHECKS,
    enqueue_scheduled,
    make_schedules,
    next_time,
    told,
)
from counterfoil.platform.jobs.working import Assignment
from counterfoil.platform.metadata import Record, build_catalogue
from counterfoil.platform.records.database import Database

NIGHTLY: Record = {
    "external_id": "nightly",
    "kind": "remind",
    "payload": {"account": "ACME"},
    "at": "30 2 * * *",
    "time_zone": "Europe/Berlin",
}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def scheduled(office: Office, **values: object) -> Record:
    with office.database.transaction(now=office.clock()) as uow:
        return uow.create("job_schedule", NIGHTLY | values)


def schedule(office: Office) -> Record:
    with office.database.transaction(now=office.clock()) as uow:
        found = uow.find("job_schedule", external_id="nightly")
    assert found is not None
    return found


def look(office: Office) -> int:
    return enqueue_scheduled(office.database, office.clock())


@pytest.mark.parametrize(
    ("at", "zone", "after", "expected"),
    [
        ("30 2 * * *", "Europe/Berlin", "2026-02-01T06:00", "2026-02-02T01:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", "2026-03-29T01:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T01:00", "2026-03-30T00:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", "2026-10-25T00:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30", "2026-10-26T01:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10", "2026-10-26T01:30"),
        ("*/20 2 * * *", "Europe/Berlin", "2026-10-25T01:10", "2026-10-25T01:20"),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T15:05", "2026-04-05T15:15"),
        ("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00", "2026-04-23T22:00"),
        ("0 22 L * *", "UTC", "2028-02-01T00:00", "2028-02-29T22:00"),
        ("0 6 1 * *", "America/Los_Angeles", "2026-02-01T14:00", "2026-03-01T14:00"),
        ("15 7 * * MON", "UTC", "2026-02-01T06:00", "2026-02-02T07:15"),
    ],
)
def test_a_cron_line_goes_by_the_clock_of_its_place(
    at: str, zone: str, after: str, expected: str
) -> None:
    assert next_time(at, zone, utc(after)) == utc(expected)


def test_a_cron_line_is_told_in_words() -> None:
    assert told("30 2 * * *") == "At 02:30 every day"


def test_a_schedule_asks_at_its_time_and_goes_on(office: Office) -> None:
    made = scheduled(office)
    assert (made["next_at"], made["last_at"]) == (utc("2026-02-02T01:30"), None)
    assert look(office) == 0
    office.clock.now = utc("2026-02-02T01:30")
    assert look(office) == 1
    assert look(office) == 0
    assert office.jobs("kind", "payload", "due_at", "origin", "enqueued_by", "time_zone") == [
        (
            "remind",
            {"account": "ACME"},
            utc("2026-02-02T01:30"),
            "job-schedules/nightly",
            "schedule",
            "Europe/Berlin",
        )
    ]
    after = schedule(office)
    assert (after["next_at"], after["last_at"]) == (utc("2026-02-03T01:30"), office.clock())


def test_what_was_missed_is_made_up_for_once(office: Office) -> None:
    scheduled(office)
    office.clock.advance(days=10)
    assert look(office) == 1
    assert schedule(office)["next_at"] == utc("2026-02-12T01:30")


def test_what_is_made_up_for_in_the_second_of_two_equal_hours_is_asked_for_once(
    office: Office,
) -> None:
    office.clock.now = utc("2026-10-24T12:00")
    scheduled(office)
    office.clock.now = utc("2026-10-25T01:10")
    assert (look(office), look(office)) == (1, 0)
    assert schedule(office)["next_at"] == utc("2026-10-26T01:30")


def test_many_workers_ask_once(office: Office) -> None:
    scheduled(office)
    office.clock.advance(days=1)
    with ThreadPoolExecutor(4) as pool:
        asked = list(pool.map(lambda _: look(office), range(4)))
    assert sum(asked) == 1
    assert len(office.jobs("id")) == 1


def test_a_job_that_still_runs_is_run_once_more_and_one_that_waits_is_the_one(
    office: Office,
) -> None:
    scheduled(office, at="0 * * * *", time_zone="UTC")
    for _ in range(3):
        office.clock.advance(hours=1)
        assert look(office) == 1
    assert len(office.jobs("id")) == 1

    def remind(job: Assignment) -> None:
        if job.attempt == 1:
            office.clock.advance(hours=2)
            assert look(office) == 1

    worker = office.worker({"remind": remind})
    assert [run.state for run in worker.run_due()] == ["waiting"]
    assert [run.state for run in worker.run_due()] == ["done"]


def test_one_that_is_off_asks_for_nothing(office: Office) -> None:
    made = scheduled(office, active=False)
    assert made["next_at"] is None
    office.clock.advance(days=1)
    assert look(office) == 0
    with office.database.transaction(now=office.clock()) as uow:
        on = uow.update("job_schedule", int(made["id"]), {"active": True})
    assert on["next_at"] == utc("2026-02-03T01:30")


def test_another_name_changes_no_time(office: Office) -> None:
    made = scheduled(office)
    with office.database.transaction(now=NOW + timedelta(days=3)) as uow:
        same = uow.update("job_schedule", int(made["id"]), {"payload": {"account": "ACME"}})
        later = uow.update("job_schedule", int(made["id"]), {"at": "0 4 * * *"})
    assert same["next_at"] == made["next_at"], "missed, and still to be made up for"
    assert later["next_at"] == utc("2026-02-05T03:00")


@pytest.mark.parametrize(
    ("wrong", "code", "field"),
    [
        ({"at": "daily"}, "bad_schedule", "at"),
        ({"at": "61 2 * * *"}, "bad_schedule", "at"),
        ({"at": "0 0 2 * * *"}, "bad_schedule", "at"),
        ({"at": "0 0 30 2 *"}, "bad_schedule", "at"),
        ({"time_zone": "Berlin"}, "unknown_time_zone", "time_zone"),
        ({"kind": "remnd"}, "unknown_job_kind", "kind"),
        ({"payload": {}}, "required", "payload.account"),
        ({"payload": []}, "required", "payload.account"),
        ({"payload": [1]}, "wrong_type", "payload"),
        ({"next_at": "2026-01-01T00:00:00Z"}, "computed_field", "next_at"),
    ],
)
def test_what_could_not_be_done_at_its_time_is_refused(
    office: Office, wrong: Record, code: str, field: str
) -> None:
    with pytest.raises(Refused) as caught:
        scheduled(office, **wrong)
    assert [(one.code, one.field) for one in caught.value.problems] == [(code, field)]


def test_a_schedule_whose_kind_is_unknown_says_so_and_is_done_by_who_knows_it(
    office: Office,
) -> None:
    scheduled(office, external_id="settle", kind="settle", payload=None)
    scheduled(office)
    remaining = [kind for kind in KNOWN.job_kinds.values() if kind.name != "settle"]
    older = Database(
        office.database.url, build_catalogue(KNOWN.declared, job_kinds=remaining), CHECKS
    )
    office.clock.advance(days=1)
    assert enqueue_scheduled(older, office.clock()) == 1
    assert enqueue_scheduled(older, office.clock()) == 0

    def told() -> Record | None:
        with older.transaction(now=NOW) as uow:
            return uow.find("job_schedule", external_id="settle")

    waiting = told()
    assert waiting is not None
    assert (waiting["next_at"], waiting["last_at"]) == (utc("2026-02-02T01:30"), None)
    assert waiting["problem"] == "kind: there is no kind of job 'settle' (allowed: remind)"
    assert look(office) == 1
    done = told()
    older.close()
    assert done is not None
    assert (done["next_at"], done["last_at"]) == (utc("2026-02-03T01:30"), office.clock())
    assert done["problem"] is None


def test_schedules_of_the_program_are_made_once_and_left_alone(office: Office) -> None:
    own = [{"external_id": "settle", "kind": "settle", "at": "40 3 * * *"}]
    with office.database.transaction(now=NOW) as uow:
        assert make_schedules(uow, own) == 1
        found = uow.find("job_schedule", external_id="settle")
        assert found is not None
        uow.update("job_schedule", int(found["id"]), {"active": False})
    with office.database.transaction(now=NOW) as uow:
        assert make_schedules(uow, own) == 0
        assert uow.find("job_schedule", external_id="settle")["active"] is False  # type: ignore[index]
