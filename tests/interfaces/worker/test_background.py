"""Tasks run beside the server, survive their faults, and end when the server does."""

import threading

import pytest

from counterfoil.interfaces.worker import background
from counterfoil.interfaces.worker.background import Paced, Task, in_background


def test_a_task_is_asked_again_until_the_block_ends() -> None:
    often = threading.Event()
    calls: list[int] = []

    def step() -> bool:
        calls.append(1)
        if len(calls) == 5:
            often.set()
        return True

    with in_background([Task("count", step)]):
        assert often.wait(30)
    made = len(calls)
    assert made >= 5
    assert not [t for t in threading.enumerate() if t.name == "count"]
    assert len(calls) == made


def test_without_work_a_task_waits_and_is_still_stopped_at_once() -> None:
    asked = threading.Event()

    def step() -> bool:
        asked.set()
        return False

    with in_background([Task("idle", step, interval=3600.0, threads=2)]):
        assert asked.wait(30)
    assert not [t for t in threading.enumerate() if t.name == "idle"]


class Slow:
    """A step that goes on until it may end."""

    def __init__(self) -> None:
        self.begun, self.may_end, self.done = (threading.Event() for _ in range(3))

    def step(self) -> bool:
        self.begun.set()
        self.may_end.wait(30)
        self.done.set()
        return False


def test_a_step_under_way_is_finished_before_the_end() -> None:
    slow = Slow()
    with in_background([Task("slow", slow.step)]):
        assert slow.begun.wait(30)
        threading.Timer(0.1, slow.may_end.set).start()
    assert slow.done.is_set()


def test_a_step_that_takes_too_long_is_named_and_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "LONGEST_STEP", 0.05)
    slow = Slow()
    with in_background([Task("bill run", slow.step)]):
        assert slow.begun.wait(30)
    assert caplog.messages == ["bill run is still under way; it ends with the process"]
    slow.may_end.set()
    assert slow.done.wait(30)


def test_a_fault_is_logged_and_the_task_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "AFTER_A_FAULT", 0.0)
    again = threading.Event()
    calls: list[int] = []

    def step() -> bool:
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("the database is away")
        again.set()
        return False

    with in_background([Task("delivery", step)]):
        assert again.wait(30)
    assert "delivery failed; it goes on in 0 seconds" in caplog.text


def test_a_paced_step_takes_one_part_in_twenty_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: shown[0])
    acted: list[float] = []

    def act() -> None:
        acted.append(shown[0])
        shown[0] += 2.0

    paced = Paced(act)
    for moment in (100.0, 110.0, 139.9, 140.0, 150.0):
        shown[0] = moment
        assert paced.step() is False
    assert acted == [100.0, 140.0]
