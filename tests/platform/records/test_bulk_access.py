"""Access in upserts and deletions: denied means that nothing has changed."""

import pytest
from tests.platform.records.conftest import NOW

from counterfoil.core.problems import Refused
from counterfoil.platform.metadata.access import (
    EVERY_ROW,
    OPERATIONS,
    Access,
    Condition,
    EntityAccess,
    Operation,
)
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

GOLD = ((Condition("tier", "eq", "gold"),),)


def access(*operations: Operation, rows: object = EVERY_ROW, **given: object) -> Access:
    granted = dict.fromkeys(operations, rows)
    return Access(entities={"customer": EntityAccess(rows=granted, **given)})  # type: ignore[arg-type]


@pytest.fixture
def two(customers: Database) -> list[int]:
    rows = [{"external_id": "A", "tier": "gold"}, {"external_id": "B", "tier": "standard"}]
    with customers.transaction(now=NOW) as uow:
        return uow.create_many("customer", rows)


def everything(database: Database) -> object:
    with database.transaction(now=NOW) as uow:
        return (
            uow.query("SELECT * FROM customer ORDER BY id"),
            uow.query("SELECT * FROM record_change ORDER BY id"),
        )


def refused(database: Database, given: Access, act) -> list[tuple[int, str]]:  # type: ignore[no-untyped-def]
    """Status and code of every problem; and nothing was changed."""
    before = everything(database)
    with database.transaction(now=NOW, access=given) as uow, pytest.raises(Refused) as caught:
        act(uow)
    assert everything(database) == before
    return [(caught.value.status, one.code) for one in caught.value.problems]


def upserting(*rows: dict[str, object]):  # type: ignore[no-untyped-def]
    def act(uow: UnitOfWork) -> None:
        uow.upsert_many("customer", "external_id", list(rows))

    return act


def test_an_upsert_needs_the_grants_of_what_it_comes_to(customers: Database, two: list[int]):
    creator, changer = access("read", "create"), access("read", "update")
    old, new = {"external_id": "A", "name": "x"}, {"external_id": "C", "name": "x"}
    assert refused(customers, creator, upserting(new, old)) == [(403, "not_granted")]
    assert refused(customers, changer, upserting(old, new)) == [(403, "not_granted")]
    with customers.transaction(now=NOW, access=creator) as uow:
        assert [one.action for one in uow.upsert_many("customer", "external_id", [new])] == [
            "created"
        ]


def test_an_upsert_tells_nothing_of_what_cannot_be_read(customers: Database, two: list[int]):
    every = access(*OPERATIONS, unreadable=frozenset({"name"}))
    unknown = upserting({"external_id": "A", "name": "x"}, {"external_id": "Z", "name": "y"})
    assert refused(customers, every, unknown) == [(422, "unknown_field")] * 2
    hidden = access(*OPERATIONS, unreadable=frozenset({"external_id"}))
    assert refused(customers, hidden, upserting({"external_id": "A"})) == [(422, "not_a_key")]


def test_what_is_outside_the_row_filter_is_neither_changed_nor_deleted(
    customers: Database, two: list[int]
):
    gold = access(*OPERATIONS, rows=GOLD)
    taken = {"external_id": "B", "tier": "gold"}
    assert refused(customers, gold, upserting(taken)) == [(409, "not_unique")]
    leaving = {"external_id": "A", "tier": "standard"}
    assert refused(customers, gold, upserting(leaving)) == [(403, "not_granted")]

    def delete(uow: UnitOfWork) -> None:
        uow.delete_many("customer", two)

    assert refused(customers, gold, delete) == [(404, "unknown_record")]
    assert refused(customers, access("read", "update"), delete) == [(403, "not_granted")]


def test_who_may_delete_may_put_back_what_he_can_see(customers: Database, two: list[int]):
    with customers.transaction(now=NOW) as uow:
        uow.delete_many("customer", two)

    def undelete(uow: UnitOfWork) -> None:
        uow.undelete_many("customer", two)

    assert refused(customers, access(*OPERATIONS, rows=GOLD), undelete) == [(404, "not_deleted")]
    assert refused(customers, access("read", "create"), undelete) == [(403, "not_granted")]
    with customers.transaction(now=NOW, access=access(*OPERATIONS, rows=GOLD)) as uow:
        uow.undelete_many("customer", two[:1])
        assert [one["external_id"] for one in uow.list("customer").records] == ["A"]


def test_who_refers_is_named_only_to_who_sees_everything(customers: Database, two: list[int]):
    with customers.transaction(now=NOW) as uow:
        uow.update("customer", two[1], {"parent_id": two[0]})
    gold = access(*OPERATIONS, rows=GOLD)
    with customers.transaction(now=NOW, access=gold) as uow, pytest.raises(Refused) as caught:
        uow.delete_many("customer", two[:1])
    assert caught.value.problems[0].message == (
        "this customer is still referred to by other records"
    )


def test_what_cannot_be_put_back_tells_nothing_of_hidden_fields(customers: Database):
    with customers.transaction(now=NOW) as uow:
        rows = [{"external_id": f"BACK-{n}", "name": "Hush"} for n in (1, 2)]
        two = uow.create_many("customer", rows)
        uow.delete_many("customer", two)
        uow.create_many("customer", rows)
    blind = access(*OPERATIONS, unreadable=frozenset({"external_id", "name"}))
    with customers.transaction(now=NOW, access=blind) as uow, pytest.raises(Refused) as caught:
        uow.undelete_many("customer", two)
    assert caught.value.status == 409
    told = str(caught.value.problems)
    assert "BACK-1" not in told
    assert "external_id" not in told


def test_a_query_that_takes_too_long_is_refused(customers: Database):
    with (
        pytest.raises(Refused) as caught,
        customers.transaction(now=NOW, seconds=1) as uow,
    ):
        uow.query("SELECT pg_sleep(5)")
    assert [one.code for one in caught.value.problems] == ["query_too_slow"]
    with customers.transaction(now=NOW) as uow:
        assert uow.query("SHOW statement_timeout") == [{"statement_timeout": "0"}]
