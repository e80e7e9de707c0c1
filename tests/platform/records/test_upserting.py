"""Create or change by a unique field: nothing twice, nothing lost, nothing written in vain."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def upsert(database: Database, rows: list[Record], field: str = "external_id") -> list[str]:
    with database.transaction(now=LATER) as uow:
        return [one.action for one in uow.upsert_many("customer", field, rows)]


def problems_of(database: Database, rows: list[Record], field: str = "external_id"):
    with pytest.raises(Refused) as refused, database.transaction(now=LATER) as uow:
        uow.upsert_many("customer", field, rows)
    return [(one.line, one.field, one.code) for one in refused.value.problems]


def stored(database: Database) -> dict[str, Record]:
    with database.transaction(now=LATER) as uow:
        records = uow.list("customer", limit=1000).records
    return {record["external_id"]: record for record in records}


def changes(database: Database) -> int:
    with database.transaction(now=LATER) as uow:
        return int(uow.query("SELECT count(*) AS n FROM record_change")[0]["n"])


def test_new_ones_are_created_others_changed_and_the_rest_left_alone(customers: Database):
    with customers.transaction(now=NOW) as uow:
        rows = [{"external_id": "A", "credit": 1}, {"external_id": "B", "credit": 2}]
        uow.create_many("customer", rows)
    done = upsert(
        customers,
        [
            {"external_id": "C", "credit": 3},
            {"external_id": "B", "credit": "2.5"},
            {"external_id": "A", "credit": "1.0"},
            {"external_id": "0", "tier": "gold"},
        ],
    )

    assert done == ["created", "updated", "unchanged", "created"]
    records = stored(customers)
    assert {name: one["credit"] for name, one in records.items()} == {
        "A": 1,
        "B": Decimal("2.5"),
        "C": 3,
        "0": None,
    }
    assert (records["A"]["row_version"], records["B"]["row_version"]) == (1, 2)
    assert changes(customers) == 5


def test_the_same_again_writes_nothing(customers: Database):
    rows = [{"external_id": name, "credit": "0.10"} for name in "ABC"]
    assert upsert(customers, rows) == ["created"] * 3
    before = stored(customers), changes(customers)
    assert upsert(customers, rows) == ["unchanged"] * 3
    assert (stored(customers), changes(customers)) == before


def test_every_row_names_a_record_and_none_is_named_twice(customers: Database):
    rows = [{"external_id": "A"}, {"name": "x"}, {"external_id": "A"}, {"external_id": 5}]
    assert problems_of(customers, rows) == [
        (2, "external_id", "required"),
        (3, "external_id", "double_key"),
        (4, "external_id", "wrong_type"),
    ]
    assert problems_of(customers, rows, field="name") == [(None, "name", "not_a_key")]
    assert stored(customers) == {}


def test_what_is_wrong_is_told_by_row_and_nothing_is_written(customers: Database):
    upsert(customers, [{"external_id": "A", "credit": 1}])
    rows = [
        {"external_id": "A", "credit": "x"},
        {"external_id": "B", "tier": "iron"},
        {"external_id": "C"},
    ]
    assert problems_of(customers, rows) == [
        (1, "credit", "wrong_type"),
        (2, "tier", "unknown_choice"),
    ]
    rows = [{"external_id": "A"}, {"external_id": "Z"}, {"external_id": "B", "parent_id": 99}]
    assert problems_of(customers, rows) == [(3, "parent_id", "unknown_reference")]
    assert list(stored(customers)) == ["A"]
    assert changes(customers) == 1


def test_ten_thousand_are_a_few_statements(customers: Database):
    rows = [{"external_id": f"C-{n:05}", "credit": n} for n in range(10_000)]
    assert set(upsert(customers, rows)) == {"created"}
    rows = [row | {"credit": 1} for row in rows[:5_000]] + [
        {"external_id": f"D-{n:05}"} for n in range(5_000)
    ]
    done = upsert(customers, rows)
    assert (done.count("updated"), done.count("unchanged"), done.count("created")) == (
        4_999,
        1,
        5_000,
    )


def test_of_the_same_created_at_the_same_time_none_is_double_or_lost(customers: Database):
    def work(number: int) -> list[str]:
        names = [f"C-{n:03}" for n in range(200)]
        if number % 2:
            names.reverse()
        field = ("credit", "cycle_day", "name", "since")[number % 4]
        value = {"credit": "5", "cycle_day": 7, "name": "x", "since": "2026-01-01"}[field]
        return upsert(customers, [{"external_id": name, field: value} for name in names])

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(work, range(8)))
    assert sum(actions.count("created") for actions in done) == 200
    records = stored(customers)
    assert len(records) == 200
    for record in records.values():
        assert (record["credit"], record["cycle_day"], record["name"]) == (5, 7, "x")
        assert str(record["since"]) == "2026-01-01"
    with customers.transaction(now=LATER) as uow:
        assert versions_follow_each_other(uow)


def versions_follow_each_other(uow: UnitOfWork) -> bool:
    """Each change of a record has a version of its own, without a gap."""
    return not uow.query(
        "SELECT record_id FROM record_change GROUP BY record_id"
        " HAVING count(DISTINCT row_version) <> count(*) OR max(row_version) <> count(*)"
    )


def test_a_part_can_be_undone_within_a_transaction(customers: Database):
    with customers.transaction(now=NOW) as uow:
        uow.create("customer", {"external_id": "A"})
        with suppress(Refused), uow.savepoint():
            uow.create("customer", {"external_id": "B"})
            uow.create("customer", {"external_id": "A"})
        uow.create("customer", {"external_id": "C"})
    assert list(stored(customers)) == ["A", "C"]


def test_many_created_at_once_tell_which_of_them_break_a_constraint(customers: Database):
    upsert(customers, [{"external_id": "A"}])
    rows = [{"external_id": name} for name in ("B", "A", "C", "B")]
    with pytest.raises(Refused) as refused, customers.transaction(now=NOW) as uow:
        uow.create_many("customer", rows)
    assert [(one.line, one.code) for one in refused.value.problems] == [
        (2, "not_unique"),
        (4, "not_unique"),
    ]
    assert refused.value.status == 409
