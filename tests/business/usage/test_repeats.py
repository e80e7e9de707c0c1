"""Segments that came over HTTP are looked through once for events that stood there before."""

import json

import pytest
from tests.business.usage.conftest import CLOUD_EVENT

from counterfoil.business.usage.compaction import compact
from counterfoil.business.usage.gathering import accept_cloud_events
from counterfoil.business.usage.repeats import look_for_repeats


def post(bridge, *numbers, seconds=90):
    """Events in one group of their own, and so in one segment."""
    events = [
        {**CLOUD_EVENT, "id": f"E{number}", "data": {"quantity": seconds}} for number in numbers
    ]
    body = json.dumps(events).encode()
    accept_cloud_events(bridge.database, bridge.store, body, now=bridge.now)


def look(bridge):
    return look_for_repeats(bridge.database, bridge.store, now=bridge.now)


def first_only(bridge):
    """What is known of the segments, by number; the state of each beside it."""
    with bridge.database.transaction(now=bridge.now) as uow:
        rows = uow.query("SELECT state, first_only FROM usage_segment ORDER BY id")
    return [(row["state"], row["first_only"]) for row in rows]


def test_a_segment_is_looked_at_once(bridge):
    post(bridge, 1, 2)
    assert first_only(bridge) == [("fresh", None)]
    assert look(bridge) == 1
    post(bridge, 3)
    assert first_only(bridge) == [("fresh", True), ("fresh", None)]
    assert [look(bridge), look(bridge)] == [1, 0]
    assert first_only(bridge) == [("fresh", True), ("fresh", True)]
    assert bridge.events() == [("E1",), ("E2",), ("E3",)]


@pytest.mark.parametrize("looks", [(), (0,), (1,), (0, 1), (0, 1, 2)], ids=str)
def test_what_repeats_an_earlier_event_never_counts(bridge, looks):
    for index, (numbers, seconds) in enumerate([((1, 2), 90), ((3, 2), 60), ((4, 4), 30)]):
        post(bridge, *numbers, seconds=seconds)
        if index in looks:
            look(bridge)
    expected = [("E1", 90), ("E2", 90), ("E3", 60), ("E4", 30)]
    assert bridge.events("event_id", "quantity") == expected
    look(bridge)
    assert first_only(bridge) == [("fresh", True), ("fresh", False), ("fresh", False)]
    assert bridge.events("event_id", "quantity") == expected


def test_what_is_compacted_is_compared_as_well(bridge):
    post(bridge, 1, 2)
    compact(bridge.database, bridge.store, now=bridge.now)
    post(bridge, 3)
    post(bridge, 2, seconds=60)
    assert look(bridge) == 2
    assert first_only(bridge) == [
        ("replaced", None),
        ("compacted", True),
        ("fresh", True),
        ("fresh", False),
    ]
    assert bridge.events("event_id", "quantity") == [("E1", 90), ("E2", 90), ("E3", 90)]


def test_a_file_that_was_counted_at_its_import_is_not_looked_at(bridge):
    bridge.load(bridge.file(bridge.call(1), name="a.csv"))
    bridge.load(bridge.file(bridge.call(1), bridge.call(2), name="b.csv"))
    assert look(bridge) == 0
    assert first_only(bridge) == [("fresh", True), ("fresh", False)]
