"""The good rows are written, and the others told, in a few statements."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.each import write_each

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def written(database: Database, rows: Sequence[Record]) -> tuple[list[object], int]:
    """The id or the problems of each row, and how many attempts it took."""
    attempts = 0

    def write(part: list[Record]) -> list[int]:
        nonlocal attempts
        attempts += 1
        return uow.create_many("customer", part)

    with database.transaction(now=NOW) as uow:
        outcomes = write_each(uow, rows, write)
    told = [one.result or [(p.line, p.code) for p in one.problems] for one in outcomes]
    return told, attempts


def names(database: Database) -> list[str]:
    with database.transaction(now=NOW) as uow:
        return [one["external_id"] for one in uow.list("customer", limit=1000).records]


def test_the_good_ones_are_saved_and_every_other_has_its_problems(customers: Database):
    with customers.transaction(now=NOW) as uow:
        uow.create("customer", {"external_id": "OLD"})
    told, attempts = written(
        customers,
        [
            {"external_id": "A"},
            {"external_id": "B", "credit": "x", "tier": "iron"},
            {"external_id": "OLD"},
            {"external_id": "C", "parent_id": 99},
            {"external_id": "A"},
            {"external_id": "D"},
        ],
    )
    assert [one for one in told if isinstance(one, list)] == [
        [(2, "wrong_type"), (2, "unknown_choice")],
        [(3, "not_unique")],
        [(4, "unknown_reference")],
        [(5, "not_unique")],
    ]
    assert names(customers) == ["OLD", "A", "D"]
    assert attempts <= 4


def test_ten_thousand_rows_of_which_half_are_wrong_take_a_few_attempts(customers: Database):
    rows: list[Record] = [
        {"external_id": f"C-{n}", "parent_id": 99_999 if n % 2 else None} for n in range(10_000)
    ]
    told, attempts = written(customers, rows)
    assert sum(isinstance(one, int) for one in told) == 5_000
    assert attempts == 2


def test_a_refusal_that_names_no_row_is_brought_home_to_one(customers: Database):
    attempts: list[list[str]] = []

    def write(rows: list[str]) -> list[str]:
        attempts.append(rows)
        if "bad" in rows:
            raise Refused(Problem("no_line", "something is wrong"))
        return rows

    with customers.transaction(now=NOW) as uow:
        outcomes = write_each(uow, ["a", "b", "bad", "c", "d"], write)
    assert [one.result for one in outcomes] == ["a", "b", None, "c", "d"]
    assert [(one.line, one.code) for one in outcomes[2].problems] == [(3, "no_line")]


def test_what_is_not_granted_is_refused_as_a_whole(customers: Database):
    def write(rows: list[str]) -> list[str]:
        raise Refused(Problem("not_granted", "no"), status=403)

    with customers.transaction(now=NOW) as uow, pytest.raises(Refused):
        write_each(uow, ["a", "b"], write)
    with customers.transaction(now=NOW) as uow:
        assert write_each(uow, [], write) == []
