"""Compaction keeps the set of events: the first of equal ones, whatever comes in which order."""

import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterfoil.business.usage import store as usage_store
from counterfoil.business.usage.compaction import MANY_FRESH, compact, compact_if_due
from counterfoil.business.usage.repeats import look_for_repeats
from counterfoil.business.usage.store import EVENT_SCHEMA, save_events

DELIVERY = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from([1, 2]),
        st.sampled_from(["2026-06-30T23:59:59", "2026-07-01T00:00:00", "2026-08-03T10:00:00"]),
        st.integers(1, 5),
    ),
    min_size=1,
    max_size=8,
)
ACTION = st.one_of(DELIVERY, st.sampled_from(["compact", "look"]))


def deliver(bridge, batch_id, delivery):
    rows = [
        {
            "source": "s",
            "event_id": str(number),
            "time": datetime.fromisoformat(moment),
            "subscription_id": subscription,
            "meter_id": 1,
            "quantity": quantity,
            "batch_id": batch_id,
            "line": line,
            "attributes": None,
        }
        for line, (number, subscription, moment, quantity) in enumerate(delivery)
    ]
    with bridge.database.transaction(now=bridge.now) as uow:
        save_events(uow, bridge.store, pa.Table.from_pylist(rows, schema=EVENT_SCHEMA), batch_id)


def read(bridge, **chosen):
    columns = ("event_id", "subscription_id", "strftime(time, '%Y-%m-%dT%H:%M:%S')", "quantity")
    return {
        int(row[0]): (row[1], row[2], int(row[3]))
        for row in bridge.events(*columns, from_time=datetime(2020, 1, 1, tzinfo=UTC), **chosen)
    }


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=st.lists(ACTION, min_size=1, max_size=7))
def test_any_order_of_deliveries_and_compactions_reads_the_first_of_each_event(bridge, actions):
    bridge.load(bridge.file())
    with bridge.database.transaction(now=bridge.now) as uow:
        uow.execute("DELETE FROM usage_segment")
    expected = {}
    for action in actions:
        if action == "compact":
            compact(bridge.database, bridge.store, now=bridge.now)
        elif action == "look":
            look_for_repeats(bridge.database, bridge.store, now=bridge.now)
        else:
            deliver(bridge, 1, action)
            for number, *content in action:
                expected.setdefault(number, tuple(content))
        assert read(bridge) == expected
        for subscription in (1, 2):
            assert read(bridge, subscriptions=[subscription]) == {
                number: event for number, event in expected.items() if event[0] == subscription
            }
        assert len(bridge.events()) == len(expected)


def test_events_are_filed_by_month_and_bucket(bridge):
    calls = [
        bridge.call(1),
        bridge.call(2, started="2026-08-01 09:00:00"),
        bridge.call(3, bridge_account="0815", access="toll"),
    ]
    bridge.load(bridge.file(*calls))
    bridge.load(bridge.file(calls[0], bridge.call(4), name="next.csv"))
    summary = compact(bridge.database, bridge.store, now=bridge.now)
    assert (summary.segments_compacted, summary.segments_written) == (2, 2)
    assert (summary.events, summary.duplicates_removed) == (4, 1)
    with bridge.database.transaction(now=bridge.now) as uow:
        root = uow.query("SELECT id FROM account WHERE parent_id IS NULL")[0]["id"]
        rows = uow.query(
            "SELECT month::text, bucket, events FROM usage_segment WHERE state = 'compacted' "
            "ORDER BY month"
        )
    bucket = root % 16
    assert [tuple(row.values()) for row in rows] == [
        ("2026-07-01", bucket, 3),
        ("2026-08-01", bucket, 1),
    ]
    assert len(bridge.events(buckets=[bucket])) == 4
    assert bridge.events(buckets=[(bucket + 1) % 16]) == []


def test_a_quantity_of_at_most_six_decimals_stands_in_millionths_beside(bridge):
    bridge.load(bridge.file())
    with bridge.database.transaction(now=bridge.now) as uow:
        batch = uow.query("SELECT id FROM usage_batch")[0]["id"]
    expected = {
        "90": 90_000_000,
        "0": 0,
        "-2.5": -2_500_000,
        "0.000001": 1,
        "999999999999.999999": 999_999_999_999_999_999,
        "1000000000000": None,
        "-1000000000000": None,
        "0.0000001": None,
        "12345678901234567890123.5": None,
    }
    events = [(n, 1, "2026-07-01", Decimal(text)) for n, text in enumerate(expected)]
    # One segment with none that is beside, one with some, and one with nothing else.
    for part in (events[6:], events[3:6], events[:3]):
        deliver(bridge, batch, part)

    def stored():
        read = dict(bridge.events("CAST(event_id AS INTEGER)", "millionths"))
        return [read[n] for n in range(len(events))]

    assert stored() == list(expected.values())
    compact(bridge.database, bridge.store, now=bridge.now)
    assert stored() == list(expected.values())


def test_small_compacted_files_are_written_anew_with_what_comes_later(bridge):
    bridge.load(bridge.file(bridge.call(1)))
    compact(bridge.database, bridge.store, now=bridge.now)
    bridge.load(bridge.file(bridge.call(2), name="next.csv"))
    summary = compact(bridge.database, bridge.store, now=bridge.now)
    assert (summary.segments_written, summary.events) == (1, 1)
    assert bridge.events() == [("C1",), ("C2",)]
    with bridge.database.transaction(now=bridge.now) as uow:
        compacted = uow.query("SELECT events FROM usage_segment WHERE state = 'compacted'")
    assert [row["events"] for row in compacted] == [2]


def test_large_batches_become_several_files(bridge, monkeypatch):
    monkeypatch.setattr(usage_store, "LARGEST_SEGMENT", 4)
    bridge.load(bridge.file(*[bridge.call(n) for n in range(10)]))
    compact(bridge.database, bridge.store, now=bridge.now)
    with bridge.database.transaction(now=bridge.now) as uow:
        rows = uow.query("SELECT state, events FROM usage_segment ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [
        ("replaced", 4),
        ("replaced", 4),
        ("replaced", 2),
        ("compacted", 4),
        ("compacted", 4),
        ("compacted", 2),
    ]
    assert len(bridge.events()) == 10


def test_replaced_files_stay_for_readers_for_an_hour(bridge):
    bridge.load(bridge.file(bridge.call(1)))
    fresh = bridge.store.folder / "fresh"
    assert compact(bridge.database, bridge.store, now=bridge.now).files_deleted == 0
    assert len(list(fresh.iterdir())) == 1
    later = bridge.now + timedelta(hours=1, seconds=1)
    assert compact(bridge.database, bridge.store, now=later).files_deleted == 1
    assert list(fresh.iterdir()) == []
    assert bridge.events() == [("C1",)]


def test_orphans_are_ignored_and_swept_after_a_day(bridge):
    bridge.load(bridge.file(bridge.call(1)))
    (segment,) = (bridge.store.folder / "fresh").iterdir()
    orphan = segment.with_name("000000009999.parquet")
    orphan.write_bytes(segment.read_bytes())
    assert bridge.events() == [("C1",)]
    compact(bridge.database, bridge.store, now=bridge.now)
    assert orphan.exists()
    two_days_ago = orphan.stat().st_mtime - 2 * 86_400
    os.utime(orphan, (two_days_ago, two_days_ago))
    compact(bridge.database, bridge.store, now=bridge.now)
    assert not orphan.exists()


def test_only_one_compaction_at_a_time(bridge):
    bridge.load(bridge.file(bridge.call(1)))
    with bridge.database.transaction(now=bridge.now) as uow:
        assert uow.lock("compact usage")
        assert compact(bridge.database, bridge.store, now=bridge.now).running_elsewhere
    assert compact(bridge.database, bridge.store, now=bridge.now).segments_compacted == 1
    assert compact(bridge.database, bridge.store, now=bridge.now).segments_compacted == 0


def first_only(bridge):
    with bridge.database.transaction(now=bridge.now) as uow:
        rows = uow.query("SELECT first_only FROM usage_segment ORDER BY id")
    return [row["first_only"] for row in rows]


def test_a_file_is_known_to_repeat_nothing_or_to_be_looked_at(bridge):
    bridge.load(bridge.file(bridge.call(1), bridge.call(2), name="a.csv"))
    bridge.load(bridge.file(bridge.call(3), name="b.csv"))
    bridge.load(bridge.file(bridge.call(2, seconds="7"), bridge.call(4), name="c.csv"))
    assert first_only(bridge) == [True, True, False]
    events = [("C1", 90), ("C2", 90), ("C3", 90), ("C4", 90)]
    assert bridge.events("event_id", "quantity") == events
    with bridge.database.transaction(now=bridge.now) as uow:
        subscription = uow.query("SELECT subscription_id FROM usage_identifier LIMIT 1")
    chosen = [row["subscription_id"] for row in subscription]
    assert bridge.events("event_id", "quantity", subscriptions=chosen) == events
    assert bridge.events(subscriptions=[]) == []


def test_compaction_is_due_when_there_is_much_or_when_it_has_waited(bridge):
    assert compact_if_due(bridge.database, bridge.store, now=bridge.now) is None
    bridge.load(bridge.file(bridge.call(1)))
    assert compact_if_due(bridge.database, bridge.store, now=bridge.now) is None
    later = bridge.now + timedelta(minutes=10)
    waited = compact_if_due(bridge.database, bridge.store, now=later)
    assert waited is not None
    assert waited.segments_compacted == 1
    for number in range(MANY_FRESH):
        deliver(bridge, 1, [(number, 1, "2026-07-01T00:00:00", 1)])
    many = compact_if_due(bridge.database, bridge.store, now=bridge.now)
    assert many is not None
    assert many.segments_compacted == MANY_FRESH
