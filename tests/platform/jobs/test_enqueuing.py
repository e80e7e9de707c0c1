"""Jobs are asked for with the change they belong to, typed, and once for each key."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from tests.platform.jobs.conftest import NOW, REMIND, SETTLE, Office

from counterfoil.core.problems import Refused
from counterfoil.platform.jobs.enqueuing import Request, ask_for_job, enqueue, enqueue_many


def test_a_job_is_kept_with_its_typed_payload(office: Office) -> None:
    with office.database.transaction(now=NOW, source="rest", actor="ann") as uow:
        payload = {"account": "ACME", "due": "2026-02-03", "amount": Decimal("1.50")}
        job = enqueue(uow, REMIND, payload, key="ACME", not_before=NOW + timedelta(days=2))
        kept = uow.get("job", job)
    assert kept["payload"] == {"account": "ACME", "due": "2026-02-03", "amount": "1.5"}
    assert (kept["kind"], kept["key"], kept["state"]) == ("remind", "ACME", "waiting")
    assert kept["due_at"] == NOW + timedelta(days=2)
    assert (kept["enqueued_by"], kept["origin"]) == ("ann", "rest")


def test_a_time_that_is_past_means_now(office: Office) -> None:
    with office.database.transaction(now=NOW) as uow:
        enqueue(uow, SETTLE, {}, not_before=NOW - timedelta(days=9))
    assert office.jobs("due_at") == [(NOW,)]


def test_nothing_is_to_be_done_when_the_change_is_undone(office: Office) -> None:
    with suppress(ZeroDivisionError), office.database.transaction(now=NOW) as uow:
        enqueue(uow, SETTLE, {})
        _ = 1 // 0
    assert office.jobs("id") == []


def test_what_is_wrong_with_a_payload_is_refused_at_once(office: Office) -> None:
    with office.database.transaction(now=NOW) as uow, pytest.raises(Refused) as caught:
        enqueue(uow, REMIND, {"due": "soon", "amount": "1.005", "size": 1})
    assert {(p.code, p.field) for p in caught.value.problems} == {
        ("wrong_type", "payload.due"),
        ("scale_exceeded", "payload.amount"),
        ("unknown_field", "payload.size"),
        ("required", "payload.account"),
    }
    with office.database.transaction(now=NOW) as uow, pytest.raises(Refused) as unknown:
        enqueue(uow, "remnd", {})
    assert str(unknown.value) == "kind: there is no kind of job 'remnd' (allowed: remind, settle)"
    with office.database.transaction(now=NOW) as uow, pytest.raises(Refused) as zone:
        enqueue(uow, SETTLE, {}, time_zone="Berlin")
    assert zone.value.problems[0].field == "time_zone"
    assert office.jobs("id") == []


def test_an_open_job_is_never_overwritten_by_who_asks_for_another_one(office: Office) -> None:
    later = NOW + timedelta(days=9)
    asked = Request(REMIND, {"account": "A", "amount": Decimal("1.50")}, "A", later)

    def ask(request: Request, actor: str = "ada") -> int:
        with office.database.transaction(now=NOW, actor=actor, source="rest") as uow:
            return ask_for_job(uow, request, uow.access)

    job = ask(asked)
    before = office.jobs("*")
    for request, actor, differs in (
        (replace(asked, payload={"account": "B"}), "ada", "payload"),
        (replace(asked, payload={"account": "B"}, not_before=NOW), "bob", "who has .*, payload"),
        (replace(asked, not_before=NOW), "bob", "who has asked for it$"),
        (replace(asked, time_zone="Europe/Paris"), "ada", "time_zone"),
    ):
        with pytest.raises(Refused, match=f"job {job} with this key is .* {differs}") as refused:
            ask(request, actor)
        assert (refused.value.status, refused.value.problems[0].field) == (409, "key")
    for key in ("rules/x/1", "job-schedules/nightly"):
        with pytest.raises(Refused, match="kept for rules"):
            ask(replace(asked, key=key))
    assert office.jobs("*") == before
    assert ask(replace(asked, not_before=NOW + timedelta(days=1))) == job, "the same, earlier"
    assert office.jobs("due_at") == [(NOW + timedelta(days=1),)]
    with office.database.transaction(now=NOW) as uow:
        uow.execute("UPDATE job SET state = 'running'")
    with pytest.raises(Refused, match="payload"):
        ask(replace(asked, payload={"account": "B"}))
    assert office.jobs("again_at", "state") == [(None, "running")]


def test_of_jobs_that_wait_with_one_key_there_is_one_due_at_the_earlier_time(
    office: Office,
) -> None:
    tomorrow = NOW + timedelta(days=1)
    with office.database.transaction(now=NOW) as uow:
        first = enqueue(uow, REMIND, {"account": "A"}, key="A", not_before=tomorrow)
        assert enqueue(uow, REMIND, {"account": "A"}, key="A", not_before=NOW) == first
        assert enqueue(uow, REMIND, {"account": "A"}, key="A", not_before=tomorrow) == first
        assert enqueue(uow, SETTLE, {}, key="A") != first, "keys are those of a kind"
        assert enqueue(uow, REMIND, {"account": "A"}) != first, "no key, another job"
    assert office.jobs("kind", "key", "due_at") == [
        ("remind", "A", NOW),
        ("settle", "A", NOW),
        ("remind", None, NOW),
    ]


def test_many_are_asked_for_by_one_statement(office: Office) -> None:
    later = NOW + timedelta(hours=1)
    with office.database.transaction(now=NOW) as uow:
        waiting = enqueue(uow, REMIND, {"account": "B"}, key="B", not_before=later)
        requests = [
            Request(REMIND, {"account": "C"}),
            Request(REMIND, {"account": "B"}, key="B"),
            Request(REMIND, {"account": "A"}, key="A", not_before=later),
            Request(SETTLE, {}, key="A"),
            Request(REMIND, {"account": "A"}, key="A"),
        ]
        ids = enqueue_many(uow, requests)
        assert enqueue_many(uow, []) == []
    assert ids[1] == waiting
    assert ids[2] == ids[4] != ids[3]
    remind = "CASE kind WHEN 'remind' THEN payload ->> 'account' ELSE kind END AS what"
    assert sorted(office.jobs(remind, "due_at")) == [
        ("A", NOW),
        ("B", NOW),
        ("C", NOW),
        ("settle", NOW),
    ]
