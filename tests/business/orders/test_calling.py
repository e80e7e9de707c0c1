"""Outside systems provision lines: called, called again when they fail, and calling back once."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.business.automation.conftest import SECRET, Received, Receiver
from tests.business.orders.conftest import TODAY, Desk, room

from counterfoil.bootstrap import open_worker
from counterfoil.business.automation.signing import signature_headers
from counterfoil.business.orders import activation
from counterfoil.business.orders.calling import (
    CallBack,
    CallOutcome,
    OutsideCall,
    take_call_back,
    token_of,
)
from counterfoil.business.orders.commands import find_orders
from counterfoil.business.orders.jobs import order_handlers
from counterfoil.business.orders.tasks import complete_tasks, find_open_tasks, retry_orders
from counterfoil.business.subscriptions.commands import Activation
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.jobs.working import Run, Worker
from counterfoil.platform.records.refusals import TRY_AGAIN
from counterfoil.platform.records.unit_of_work import UnitOfWork


class Switch:
    """An outside system and the jobs that call it."""

    def __init__(self, desk: Desk, receiver: Receiver) -> None:
        self.desk = desk
        self.receiver = receiver
        handlers = open_worker(desk.organisation).handlers
        self.worker = Worker(desk.database, handlers, lambda: desk.now)

    def step(self, *, calls_back: bool) -> None:
        self.desk.step(
            "Port", kind="webhook", url=self.receiver.url, secret=SECRET, calls_back=calls_back
        )

    def run(self, **later: int) -> list[Run]:
        """Do the jobs that are due so much later."""
        self.desk.now += timedelta(**later)
        return self.worker.run_due()

    def token(self) -> str:
        """The token of the link that was sent last."""
        link = said(self.receiver.received[-1])["call_back"]["url"]
        assert link.startswith("http://127.0.0.1:8000/api/v1/provisioning-callbacks?token=")
        return parse_qs(urlsplit(link).query)["token"][0]

    def call_back(self, token: str, *, done: bool = True, message: str | None = None) -> None:
        with self.desk.work() as uow:
            take_call_back(uow, token, CallBack(done, message))

    def refused(self, token: str) -> tuple[int, str]:
        """Status and code of a call back that is refused; nothing is changed by it."""
        before = self.desk.everything()
        with pytest.raises(Refused) as told:
            self.call_back(token)
        assert self.desk.everything() == before
        return told.value.status, told.value.problems[0].code

    def task(self) -> tuple[object, ...]:
        """State, attempts and error of the only task."""
        (row,) = self.desk.rows("SELECT state, attempts, error FROM provisioning_task")
        return tuple(row.values())


def said(received: Received) -> dict[str, dict[str, str]]:
    return dict(json.loads(received.body)["data"])


@pytest.fixture
def switch(desk: Desk, receiver: Receiver) -> Switch:
    return Switch(desk, receiver)


def test_a_system_is_not_called_again_because_others_were_in_the_way(
    switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlocks = [Refused(Problem(TRY_AGAIN, "others changed the same records"), 503)]
    activate = activation.activate_subscriptions

    def sometimes(uow: UnitOfWork, activations: Sequence[Activation]) -> list[int]:
        if deadlocks:
            raise deadlocks.pop()
        return activate(uow, activations)

    switch.step(calls_back=False)
    switch.desk.released(room("ACME-1"))
    monkeypatch.setattr(activation, "activate_subscriptions", sometimes)
    assert [run.state for run in switch.run()] == ["done"]
    assert (deadlocks, len(switch.receiver.received)) == ([], 1)
    assert switch.desk.lines() == [(1, "activated", TODAY, TODAY)]


def test_a_system_that_answers_has_done_its_task(switch: Switch):
    switch.step(calls_back=False)
    switch.desk.released(room("ACME-1", purchase_order="PO-1"))
    assert [run.state for run in switch.run()] == ["done"]
    assert switch.task() == ("done", 1, None)
    assert switch.desk.lines() == [(1, "activated", TODAY, TODAY)]
    (received,) = switch.receiver.received
    data = said(received)
    assert data["order"]["external_id"] == "A-1"
    assert data["line"]["subscription"] == "A-1-1"
    assert (data["site"]["external_id"], data["site"]["country"]) == ("ACME-1", "US")
    assert "call_back" not in data
    signed = signature_headers(
        SECRET, received.headers["webhook-id"], switch.desk.now, received.body
    )
    assert received.headers["webhook-signature"] == signed["webhook-signature"]
    assert switch.run(days=4) == []


def test_a_system_that_fails_is_called_again_until_it_answers(switch: Switch):
    switch.step(calls_back=False)
    switch.receiver.answers = [(503, b"busy"), (500, b"")]
    switch.desk.released(room("ACME-1"))
    switch.run()
    assert switch.task() == ("open", 1, "answered 503 Service Unavailable")
    assert switch.run(seconds=4) == []
    switch.run(seconds=1)
    assert switch.task() == ("open", 2, "answered 500 Internal Server Error")
    switch.run(minutes=5)
    assert switch.task() == ("done", 3, None)
    assert len(set(switch.receiver.ids())) == 1


def test_a_system_that_never_answers_fails_the_task_until_somebody_tries_again(switch: Switch):
    switch.step(calls_back=False)
    switch.receiver.answers = [(500, b"")] * 10
    switch.desk.released(room("ACME-1"))
    for _ in range(10):
        switch.run(days=1)
    assert switch.task() == ("failed", 10, "answered 500 Internal Server Error")
    assert switch.run(days=4) == []
    with switch.desk.work() as uow:
        retry_orders(uow, find_orders(uow, ["A-1"]))
    switch.run()
    assert switch.task() == ("done", 11, None)
    first, last = switch.receiver.ids()[0], switch.receiver.ids()[-1]
    assert first != last


def test_a_system_that_is_gone_is_not_called_again(switch: Switch):
    switch.step(calls_back=False)
    switch.receiver.answers = [(410, b"")]
    switch.desk.released(room("ACME-1"))
    assert [run.state for run in switch.run()] == ["failed"]
    assert switch.task() == ("failed", 1, "answered 410 Gone")


def test_a_system_calls_back_once_by_its_link(switch: Switch):
    switch.step(calls_back=True)
    switch.desk.released(room("ACME-1"))
    switch.run()
    assert switch.task() == ("open", 1, None)
    token = switch.token()
    number, until, signature = token.split(".")
    for forged in (
        "",
        "x",
        number,
        f"{number}.{until}",
        f"{number}.{int(until) + 1}.{signature}",
        f"{number}.{until}.{signature[:-1]}",
        f"99.{until}.{signature}",
        f"{'9' * 30}.{until}.{signature}",
        token_of(int(number), switch.desk.now, "another key"),
    ):
        assert switch.refused(forged) == (403, "bad_link")
    switch.call_back(token, message="port 7")
    assert switch.desk.lines() == [(1, "activated", TODAY, TODAY)]
    (row,) = switch.desk.rows("SELECT done_by, note FROM provisioning_task")
    assert tuple(row.values()) == ("step Port", "port 7")
    assert switch.refused(token) == (409, "used_already")


def test_a_system_may_call_back_before_it_has_answered(switch: Switch):
    def outside(call: OutsideCall, _now: datetime) -> CallOutcome:
        switch.call_back(call.data["call_back"]["url"].partition("token=")[2])
        return CallOutcome()

    switch.step(calls_back=True)
    switch.desk.released(room("ACME-1"))
    handlers = order_handlers(outside, "https://seller.example")
    worker = Worker(switch.desk.database, handlers, lambda: switch.desk.now)
    assert [run.state for run in worker.run_due()] == ["done"]
    assert switch.task() == ("done", 1, None)


def test_a_link_whose_time_is_over_does_not_count(switch: Switch):
    switch.step(calls_back=True)
    switch.desk.released(room("ACME-1"))
    switch.run()
    switch.desk.now += timedelta(days=30)
    assert switch.refused(switch.token()) == (410, "expired")
    assert [run.kind for run in switch.run()] == ["expire_call_back"]
    assert switch.task() == ("failed", 1, "the outside system did not call back in time")
    assert switch.refused(switch.token()) == (409, "used_already")


def test_a_system_may_call_back_that_it_failed_and_is_called_anew(switch: Switch):
    with switch.desk.work() as uow:
        rule = {"external_id": "ops", "email": "ops@seller.example", "event_types": ["*"]}
        uow.create("mail_rule", rule)
    switch.step(calls_back=True)
    switch.desk.released(room("ACME-1"))
    switch.run()
    token = switch.token()
    switch.call_back(token, done=False, message="no free port")
    assert switch.task() == ("failed", 1, "no free port")
    with switch.desk.work() as uow:
        retry_orders(uow, find_orders(uow, ["A-1"]))
    switch.run()
    assert switch.refused(token) == (403, "bad_link")
    switch.call_back(switch.token())
    assert switch.task() == ("done", 2, None)
    assert switch.desk.told() == [
        ("order.submitted", "orders"),
        ("provisioning.failed", "provisioning-tasks"),
        ("order.completed", "orders"),
    ]


def test_what_somebody_has_done_by_hand_is_not_called_any_more(switch: Switch):
    switch.step(calls_back=True)
    switch.desk.released(room("ACME-1"))
    with switch.desk.work() as uow:
        (order,) = find_orders(uow, ["A-1"])
        complete_tasks(uow, find_open_tasks(uow, order), note="by telephone")
    assert [run.state for run in switch.run()] == ["done"]
    assert switch.receiver.received == []
    assert switch.task() == ("done", 0, None)


def test_a_wait_ends_by_itself_at_the_beginning_of_its_day(switch: Switch):
    switch.desk.step("Cooling off", kind="wait", days=2)
    switch.desk.released(room("ACME-1"))
    assert switch.run(hours=35) == []
    assert [run.state for run in switch.run(hours=1)] == ["done"]
    day = TODAY + timedelta(days=2)
    assert switch.desk.lines() == [(1, "activated", day, day)]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"kind": "webhook", "url": "ftp://x", "secret": SECRET}, "url"),
        ({"kind": "webhook", "url": "https://x.example", "secret": "short"}, "secret"),
        ({"kind": "webhook", "url": "https://x.example"}, "secret"),
        ({"kind": "checklist", "url": "https://x.example"}, "url"),
        ({"kind": "wait"}, "days"),
        ({"calls_back": True}, "calls_back"),
    ],
)
def test_steps_have_what_their_kind_needs(desk: Desk, more: dict[str, object], field: str):
    with pytest.raises(Refused) as told:
        desk.step("Step", **more)
    assert [problem.field for problem in told.value.problems] == [field]
