"""Jobs are run when they are due until they are done or given up, and never two at a time."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from threading import Barrier, Event

import pytest
from tests.platform.jobs.conftest import KNOWN, NOW, REMIND, SETTLE, Office, await_lock

from counterfoil.bootstrap import CHECKS
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.jobs.deciding import cancel_job, list_jobs, retry_job
from counterfoil.platform.jobs.enqueuing import Request, enqueue, enqueue_many
from counterfoil.platform.jobs.working import Assignment, NotYet, Worker
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database


def ask(office: Office, account: str = "ACME", **options: object) -> int:
    with office.database.transaction(now=office.clock(), actor="ann") as uow:
        return enqueue(uow, REMIND, {"account": account}, **options)  # type: ignore[arg-type]


def settle(office: Office, **options: object) -> int:
    with office.database.transaction(now=office.clock()) as uow:
        return enqueue(uow, SETTLE, {}, **options)  # type: ignore[arg-type]


def nothing(_job: Assignment) -> None:
    """Done."""


def test_a_job_is_done_with_what_was_told_for_it(office: Office) -> None:
    seen: list[Assignment] = []

    def remind(job: Assignment) -> Record:
        seen.append(job)
        return {"sent": Decimal("2.50")}

    with office.database.transaction(now=NOW) as uow:
        payload = {"account": "ACME", "due": "2026-02-03", "amount": "1.50"}
        job = enqueue(uow, REMIND, payload, time_zone="America/Los_Angeles")
    assert [run.state for run in office.worker({"remind": remind}).run_due()] == ["done"]
    assert seen[0].payload == {
        "account": "ACME",
        "due": date(2026, 2, 3),
        "amount": Decimal("1.50"),
    }
    assert (seen[0].job_id, seen[0].attempt) == (job, 1)
    assert seen[0].today == date(2026, 1, 31), "in Los Angeles it is still January"
    assert office.jobs("state", "result", "finished_at", "failures") == [
        ("done", {"sent": "2.5"}, NOW, 0)
    ]
    assert office.worker({"remind": remind}).run_due() == []


def test_what_a_job_writes_stands_in_the_history_as_its_work(office: Office) -> None:
    def remind(job: Assignment) -> None:
        with job.database.transaction(now=job.now) as uow:
            uow.create("mail_rule", {"external_id": "M", "email": "a@b", "event_types": ["*"]})

    job = ask(office)
    office.worker({"remind": remind}).run_due()
    with office.database.transaction(now=NOW) as uow:
        (change,) = uow.query("SELECT actor, source, request_id FROM record_change")
        uow.execute("DELETE FROM mail_rule")
    assert change == {"actor": "ann", "source": "job", "request_id": f"jobs/{job}"}


def test_nothing_is_done_before_its_time_nor_by_who_does_not_know_how(office: Office) -> None:
    ask(office, not_before=NOW + timedelta(minutes=1))
    settle(office)
    worker = office.worker({"remind": nothing})
    assert worker.run_due() == []
    office.clock.advance(minutes=1)
    assert [run.kind for run in worker.run_due()] == ["remind"]
    assert office.jobs("kind", "state") == [("remind", "done"), ("settle", "waiting")]


def test_what_fails_is_tried_again_later_and_given_up_in_the_end(office: Office) -> None:
    def fail(_job: Assignment) -> None:
        raise OSError("no route to host")

    settle(office, key="S")
    worker = office.worker({"settle": fail})
    assert [run.state for run in worker.run_due()] == ["waiting"]
    assert office.jobs("failures", "due_at", "error", "open_key") == [
        (1, NOW + timedelta(seconds=5), "OSError: no route to host", "S")
    ]
    assert worker.run_due() == [], "not due yet"
    office.clock.advance(seconds=5)
    assert [run.state for run in worker.run_due()] == ["waiting"]
    office.clock.advance(minutes=5)
    assert [(run.state, run.attempt) for run in worker.run_due()] == [("failed", 3)]
    office.clock.advance(days=30)
    assert worker.run_due() == []
    assert office.jobs("state", "failures", "open_key") == [("failed", 3, None)]
    with office.database.transaction(now=NOW) as uow:
        (event,) = uow.query("SELECT type, subject, data FROM outgoing_event")
    assert (event["type"], event["subject"]) == ("job.failed", "jobs/1")
    told = {"kind": "settle", "origin": "cli", "error": "OSError: no route to host"}
    assert event["data"] == {"job_id": 1, **told}


@pytest.mark.parametrize("passing", [409, 503])
def test_what_is_refused_is_given_up_at_once_but_for_what_passes(
    office: Office, passing: int
) -> None:
    status = passing

    def refuse(_job: Assignment) -> None:
        raise Refused(Problem("bill_run_in_progress", "another bill run is going on"), status)

    settle(office)
    worker = office.worker({"settle": refuse})
    assert [run.state for run in worker.run_due()] == ["waiting"]
    status = 422
    office.clock.advance(seconds=5)
    (run,) = worker.run_due()
    assert (run.state, run.error) == ("failed", "another bill run is going on")


def test_whatever_an_error_says_is_kept(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    # What the log says of it cannot be told by one process of the tests to another.
    caplog.set_level(logging.CRITICAL, "counterfoil")

    def fail(_job: Assignment) -> None:
        raise OSError("answer \0 of \udcff" + 3000 * "a")

    settle(office)
    assert [run.state for run in office.worker({"settle": fail}).run_due()] == ["waiting"]
    ((error, failures),) = office.jobs("error", "failures")
    assert str(error).startswith("OSError: answer \\x00 of \\udcffaaa")
    assert (len(str(error)), failures) == (2000, 1)


def test_no_time_limit_of_the_server_ends_who_holds_a_job(office: Office) -> None:
    settle(office)
    with office.database.transaction(now=NOW) as uow:
        (row,) = uow.query("SELECT quote_ident(current_database()) AS name")
        uow.execute(f"ALTER DATABASE {row['name']} SET transaction_timeout = '400ms'")
    limited = Database(office.database.url, KNOWN, CHECKS)

    def outlast(_job: Assignment) -> None:
        with office.database.transaction(now=NOW) as uow:
            uow.query("SELECT pg_sleep(0.5)")

    try:
        runs = Worker(limited, {"settle": outlast}, office.clock).run_due()
    finally:
        limited.close()
        with office.database.transaction(now=NOW) as uow:
            uow.execute(f"ALTER DATABASE {row['name']} RESET transaction_timeout")
    assert [run.state for run in runs] == ["done"]


def test_who_has_to_wait_has_not_failed(office: Office) -> None:
    def wait(job: Assignment) -> None:
        if job.attempt < 6:
            raise NotYet(job.now + timedelta(days=1), "no answer yet")

    settle(office)
    worker = office.worker({"settle": wait})
    for day in range(1, 6):
        assert [run.state for run in worker.run_due()] == ["waiting"]
        assert office.jobs("failures", "due_at") == [(0, NOW + timedelta(days=day))]
        office.clock.advance(days=1)
    assert [run.state for run in worker.run_due()] == ["done"]


def test_what_is_asked_for_while_it_runs_is_done_once_more(office: Office) -> None:
    def remind(job: Assignment) -> None:
        if job.attempt == 1:
            assert ask(office, key="A") == job.job_id
            assert ask(office, key="A") == job.job_id

    ask(office, key="A")
    runs = office.worker({"remind": remind}).run_due()
    assert [(run.attempt, run.state) for run in runs] == [(1, "waiting"), (2, "done")]
    assert ask(office, key="A") != runs[0].job_id, "it is done: another one"


def test_many_workers_do_each_job_once(office: Office) -> None:
    done: list[int] = []

    def remind(job: Assignment) -> None:
        done.append(job.job_id)

    asked = [ask(office, str(number)) for number in range(20)]
    workers = [office.worker({"remind": remind}) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda worker: worker.run_due(), workers))
    assert sorted(done) == asked
    assert set(office.jobs("state", "attempts")) == {("done", 1)}


def test_a_job_that_runs_holds_up_no_other(office: Office) -> None:
    both = Barrier(2, timeout=30)

    def meet(_job: Assignment) -> None:
        both.wait()

    ask(office, "A")
    ask(office, "B")
    worker = office.worker({"remind": meet})
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(worker.run_next) for _ in range(2)]
        assert {run.result().state for run in runs if run.result()} == {"done"}  # type: ignore[union-attr]


def test_a_lengthy_job_does_not_keep_the_quick_ones_waiting(office: Office) -> None:
    settle(office)
    ask(office)
    worker = office.worker({"remind": nothing, "settle": nothing})
    assert [run.kind for run in worker.quick().run_due()] == ["remind"]
    assert [run.kind for run in worker.run_due()] == ["settle"]


def test_a_job_that_somebody_asks_for_just_now_waits_until_he_is_done(office: Office) -> None:
    ask(office, key="A")
    ask(office, "B")
    worker = office.worker({"remind": nothing})
    with office.database.transaction(now=NOW) as uow:
        enqueue(uow, REMIND, {"account": "A"}, key="A")
        assert [run.job_id for run in worker.run_due()] == [2]
    assert [run.job_id for run in worker.run_due()] == [1]


def test_many_that_are_asked_for_just_now_keep_no_other_from_being_done(office: Office) -> None:
    many = [Request(REMIND, {"account": str(one)}, key=str(one)) for one in range(200)]
    with office.database.transaction(now=NOW) as uow:
        enqueue_many(uow, many)
    last = ask(office)
    with office.database.transaction(now=NOW) as uow:
        enqueue_many(uow, many)
        assert [run.job_id for run in office.worker({"remind": nothing}).run_due()] == [last]


def test_a_job_whose_lock_was_lost_does_not_overwrite_who_has_taken_it(office: Office) -> None:
    begun, taken = Event(), Event()

    def slow(job: Assignment) -> Record:
        if job.attempt == 1:
            begun.set()
            assert taken.wait(30)
        return {"attempt": job.attempt}

    settle(office)
    worker = office.worker({"settle": slow})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(worker.run_next)
        assert begun.wait(30)
        with office.database.transaction(now=NOW) as uow:
            uow.query(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        await_lock(office)
        runs = worker.run_due()
        taken.set()
        with pytest.raises(Exception, match=r"terminat|closed|lost"):
            first.result()
    assert [(run.attempt, run.state) for run in runs] == [(2, "done")]
    assert office.jobs("state", "result", "failures") == [("done", {"attempt": 2}, 0)]


def test_what_was_given_up_can_be_done_again(office: Office) -> None:
    def fail(_job: Assignment) -> None:
        raise Refused(Problem("unknown_account", "there is no account 'ACME'", "account"))

    job = ask(office, key="A")
    office.worker({"remind": fail}).run_due()
    office.clock.advance(days=1)
    with office.database.transaction(now=office.clock()) as uow:
        assert [row["error"] for row in list_jobs(uow, state="failed")] == [
            "account: there is no account 'ACME'"
        ]
        again = retry_job(uow, job)
    assert (again["state"], again["failures"], again["due_at"]) == ("waiting", 0, office.clock())
    assert [run.state for run in office.worker({"remind": nothing}).run_due()] == ["done"]


def test_what_waits_can_be_cancelled_and_what_runs_cannot(office: Office) -> None:
    job = ask(office, key="A")

    def decided(job: Assignment) -> None:
        for decide in (cancel_job, retry_job):
            with (
                office.database.transaction(now=NOW) as uow,
                pytest.raises(Refused) as caught,
            ):
                decide(uow, job.job_id)
            assert caught.value.status == 409

    assert office.worker({"remind": decided}).run_due()[0].state == "done"
    other = ask(office, key="A")
    with office.database.transaction(now=NOW) as uow:
        with pytest.raises(Refused, match=f"job {other} with the same key"):
            retry_job(uow, job)
        assert cancel_job(uow, other)["state"] == "cancelled"
        with pytest.raises(Refused, match="is cancelled; only what waits"):
            cancel_job(uow, other)
        with pytest.raises(Refused) as unknown:
            cancel_job(uow, 99)
        assert unknown.value.status == 404
        with pytest.raises(Refused, match="waiting, running, done, failed, cancelled"):
            list_jobs(uow, state="dead")
    assert office.worker({"remind": nothing}).run_due() == []


def test_retries_go_by_the_clock_of_the_worker(office: Office) -> None:
    office.clock.now = datetime(2026, 3, 29, 0, 59, 58, tzinfo=UTC)
    settle(office)

    def fail(_job: Assignment) -> None:
        office.clock.advance(seconds=3)
        raise OSError

    office.worker({"settle": fail}).run_due()
    assert office.jobs("due_at") == [(datetime(2026, 3, 29, 1, 0, 6, tzinfo=UTC),)]
