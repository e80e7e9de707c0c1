"""What has happened is told with it, once, or not at all."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal

from counterfoil.platform.outbox.emitting import (
    EventType,
    Happening,
    emit,
    emit_from,
    emit_many,
)
from counterfoil.platform.records.database import Database

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
REACHED = EventType("usage.threshold_reached", "")
FINALIZED = EventType("invoice.finalized", "")


def told(database: Database) -> list[dict[str, object]]:
    with database.transaction(now=NOW) as uow:
        return uow.query("SELECT * FROM outgoing_event ORDER BY id")


def test_an_event_is_kept_as_it_was_told(database: Database):
    data = {"used": Decimal("100.50"), "day": date(2026, 1, 31), "of": {"limit": Decimal(100)}}
    with database.transaction(now=NOW) as uow:
        assert emit(uow, REACHED, key="S-1:100", subject="subscriptions/1", data=data)
    (event,) = told(database)
    assert (event["type"], event["key"]) == ("usage.threshold_reached", "S-1:100")
    assert (event["subject"], event["state"]) == ("subscriptions/1", "new")
    assert event["occurred_at"] == NOW
    assert event["data"] == {"used": "100.5", "day": "2026-01-31", "of": {"limit": "100"}}
    assert str(event["message_id"]).startswith("evt_")


def test_the_same_is_told_once_even_by_two_at_the_same_time(database: Database):
    def tell() -> bool:
        with database.transaction(now=NOW) as uow:
            return emit(uow, REACHED, key="S-1:100", subject="subscriptions/1", data={})

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda _: tell(), range(4))) == [False, False, False, True]
    assert len(told(database)) == 1


def test_nothing_is_told_when_the_change_is_undone(database: Database):
    with suppress(ZeroDivisionError), database.transaction(now=NOW) as uow:
        emit(uow, REACHED, key="S-1:100", subject="subscriptions/1", data={})
        _ = 1 // 0
    assert told(database) == []


def test_many_are_told_by_one_statement(database: Database):
    select = (
        "SELECT CAST(n AS text) AS key, 'subscriptions/' || n AS subject,"
        " jsonb_build_object('n', n) AS data FROM generate_series(CAST(:low AS int), :high) AS n"
    )
    with database.transaction(now=NOW) as uow:
        assert emit_from(uow, FINALIZED, select, low=1, high=3) == 0, "nobody listens"
        rule = {"external_id": "A", "email": "a@b", "event_types": ["bill_run.finished"]}
        rule_id = uow.create("mail_rule", rule)["id"]
        assert emit_from(uow, FINALIZED, select, low=1, high=3) == 0, "nobody listens to that"
        uow.update("mail_rule", rule_id, {"event_types": ["invoice.finalized"], "active": False})
        assert emit_from(uow, FINALIZED, select, low=1, high=3) == 0, "nobody listens now"
        uow.update("mail_rule", rule_id, {"active": True})
        assert emit_from(uow, FINALIZED, select, low=1, high=3) == 3
        assert emit_from(uow, FINALIZED, select, low=2, high=5) == 2
    events = told(database)
    assert [(event["key"], event["data"]) for event in events] == [
        (str(n), {"n": n}) for n in range(1, 6)
    ]
    assert len({event["message_id"] for event in events}) == 5


def test_several_that_were_found_are_each_told_once(database: Database):
    found = [Happening(f"S-{n}:100", f"subscriptions/{n}", {"n": Decimal(n)}) for n in range(1, 4)]
    with database.transaction(now=NOW) as uow:
        assert emit_many(uow, REACHED, found[:2]) == 2
        assert emit_many(uow, REACHED, found) == 1
        assert emit_many(uow, REACHED, []) == 0
    assert [event["data"] for event in told(database)] == [{"n": "1"}, {"n": "2"}, {"n": "3"}]
