"""Gapless numbers and locks, with others at the same time."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from threading import Barrier, BrokenBarrierError

import pytest

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.statements import Answer
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def test_numbers_begin_with_one_and_follow_each_other(database: Database):
    with database.transaction(now=NOW) as uow:
        assert [uow.next_numbers("INV-", count) for count in (1, 5, 2)] == [1, 2, 7]
        assert uow.next_numbers("CN-", 1) == 1
        with pytest.raises(ValueError, match="at least 1"):
            uow.next_numbers("CN-", 0)


def test_a_rolled_back_transaction_gives_its_numbers_back(database: Database, undone):
    with undone(database) as uow:
        uow.next_numbers("INV-", 10)
    with database.transaction(now=NOW) as uow:
        assert uow.next_numbers("INV-", 1) == 1


def test_numbers_have_no_gap_when_many_take_and_some_fail(database: Database, undone):
    def take(turn: int) -> list[int]:
        count = 1 + turn % 3
        if turn % 4 == 0:
            with undone(database) as uow:
                uow.next_numbers("INV-", count)
            return []
        with database.transaction(now=NOW) as uow:
            first = uow.next_numbers("INV-", count)
        return list(range(first, first + count))

    with ThreadPoolExecutor(6) as threads:
        taken = [number for numbers in threads.map(take, range(60)) for number in numbers]

    assert sorted(taken) == list(range(1, len(taken) + 1))


def test_a_lock_is_held_until_the_transaction_ends(database: Database):
    with database.transaction(now=NOW) as first:
        assert first.lock("bill run")
        assert first.lock("bill run")
        with database.transaction(now=NOW) as second:
            assert not second.lock("bill run")
            assert second.lock("compaction")
    with database.transaction(now=NOW) as third:
        assert third.lock("bill run")


def test_work_that_meets_a_deadlock_is_done_again_as_a_whole(database: Database):
    both_hold_one = Barrier(2)

    def take(names: tuple[str, str]) -> list[int]:
        tries = 0

        def work(uow: UnitOfWork) -> int:
            nonlocal tries
            tries += 1
            first = uow.next_numbers(names[0], 1)
            if tries == 1:
                with suppress(BrokenBarrierError):
                    both_hold_one.wait(timeout=10)
            uow.next_numbers(names[1], 1)
            return first

        return [database.attempt(work, now=NOW), tries]

    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(take, [("INV-", "CN-"), ("CN-", "INV-")]))

    # The second try of one may be too soon for the other, who waits: then they meet again.
    assert sum(tries for _, tries in done) > 2
    with database.transaction(now=NOW) as uow:
        assert [uow.next_numbers(name, 1) for name in ("INV-", "CN-")] == [3, 3]


def test_work_that_is_refused_otherwise_is_not_done_again(database: Database):
    tries = []

    def work(_: UnitOfWork) -> None:
        tries.append(1)
        raise Refused(Problem("too_small", "must be above 0", "amount"))

    with pytest.raises(Refused, match="must be above 0"):
        database.attempt(work, now=NOW)
    assert len(tries) == 1


def test_an_answer_is_remembered_with_its_request(database: Database):
    with database.transaction(now=NOW) as uow:
        assert uow.remembered_answer("key-1", "POST /accounts {}") is None
        uow.remember_answer("key-1", "POST /accounts {}", Answer(201, '{"id": 1}'))
    with database.transaction(now=NOW) as uow:
        answer = uow.remembered_answer("key-1", "POST /accounts {}")
        assert answer is not None
        assert (answer.status, answer.body) == (201, '{"id": 1}')
        with pytest.raises(Refused) as refused:
            uow.remembered_answer("key-1", "POST /sites {}")
        assert refused.value.problems[0].code == "idempotency_key_reused"


def test_the_second_of_two_equal_requests_waits_for_the_answer_of_the_first(database: Database):
    def ask() -> int | None:
        with database.transaction(now=NOW) as uow:
            answer = uow.remembered_answer("key-1", "POST")
            return answer.status if answer else None

    with ThreadPoolExecutor(1) as threads:
        with database.transaction(now=NOW) as uow:
            uow.remembered_answer("key-1", "POST")
            second = threads.submit(ask)
            uow.remember_answer("key-1", "POST", Answer(201, "{}"))
        assert second.result(timeout=20) == 201
