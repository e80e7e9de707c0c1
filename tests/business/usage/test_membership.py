"""Reading for few subscriptions leaves out the segments that hold none of their events."""

from datetime import UTC, datetime
from itertools import chain

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.business.usage.test_compaction import deliver, read

from counterfoil.business.usage.compaction import compact
from counterfoil.business.usage.membership import LONGEST_FILTER, MANY, Members, holding
from counterfoil.business.usage.store import usage_relation, visible_segments

LARGEST = 2**63 - 1
IDS = st.integers(-(2**63), LARGEST)
SUBSCRIPTIONS = [1, 2, 3, 2**53 + 1, LARGEST - 1, LARGEST]
JULY = "2026-07-01T00:00:00"


def filter_of(*parts):
    members = Members()
    for part in parts:
        members.add(pa.chunked_array([pa.array(part, pa.int64())]))
    return members.filter()


def held(members, *subscriptions):
    return bool(holding([{"subscription_filter": members}], subscriptions))


@given(st.lists(st.lists(IDS, max_size=50), max_size=4), IDS)
def test_a_subscription_that_has_an_event_is_never_denied(parts, other):
    members = filter_of(*parts)
    for subscription in chain(*parts):
        assert held(members, other, subscription)
    assert not held(members)


def test_most_that_have_no_event_are_denied_and_the_filter_stays_small():
    few = filter_of(range(1, 11))
    assert len(few) == 20
    assert sum(held(few, other) for other in range(11, 1011)) < 100
    full = filter_of(range(1, MANY), [MANY, None])
    assert len(full) == LONGEST_FILTER
    assert sum(held(full, other) for other in range(MANY + 1, MANY + 1001)) < 500


def test_the_filter_is_the_same_in_every_process_and_release():
    assert filter_of([1, 2, LARGEST]) == filter_of([LARGEST], [2, 1]) == "AEAQAC"


def test_a_segment_of_very_many_has_no_filter_and_holds_all():
    for parts in ([range(MANY + 1)], [range(MANY), [LARGEST]], [range(MANY), range(3 * MANY)]):
        assert filter_of(*parts) is None
    assert held(None, 5)
    assert filter_of(range(MANY), range(MANY)) is not None


DELIVERY = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(SUBSCRIPTIONS), st.just(JULY), st.integers(1, 5)),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    deliveries=st.lists(DELIVERY, min_size=1, max_size=6),
    chosen=st.lists(st.sampled_from(SUBSCRIPTIONS), max_size=3),
)
def test_few_subscriptions_have_the_events_they_have_among_all(bridge, deliveries, chosen):
    # The same event comes again in other segments, with other subscriptions.
    bridge.load(bridge.file())
    with bridge.database.transaction(now=bridge.now) as uow:
        uow.execute("DELETE FROM usage_segment")
    for delivery in deliveries:
        deliver(bridge, 1, delivery)
    among_all = {number: event for number, event in read(bridge).items() if event[0] in chosen}
    assert read(bridge, subscriptions=chosen) == among_all


def paths_read(bridge, *subscriptions):
    with bridge.database.transaction(now=bridge.now) as uow:
        manifest = visible_segments(uow)
    sql = usage_relation(
        manifest,
        bridge.store,
        buckets=None,
        from_time=datetime(2026, 1, 1, tzinfo=UTC),
        to_time=datetime(2027, 1, 1, tzinfo=UTC),
        subscriptions=subscriptions,
    )
    return [row["id"] for row in manifest.fresh if str(row["path"]) in sql]


@pytest.fixture
def subscriptions(bridge):
    with bridge.database.transaction(now=bridge.now) as uow:
        return uow.ids_by("subscription", "external_id", ["S-1", "S-2"])


def test_files_without_events_of_the_subscription_are_not_opened(bridge, subscriptions):
    bridge.load(bridge.file(bridge.call(1), name="acme.csv"))
    bridge.load(bridge.file(bridge.call(2, bridge_account="0815", access="toll"), name="bolt.csv"))
    acme, bolt = subscriptions["S-1"], subscriptions["S-2"]
    (bolts,) = set(paths_read(bridge, acme, bolt)) - set(paths_read(bridge, acme))
    (bridge.store.folder / "fresh" / f"{bolts:012d}.parquet").unlink()
    assert bridge.events(subscriptions=[acme]) == [("C1",)]
    assert paths_read(bridge, LARGEST) == []
    assert bridge.events(subscriptions=[LARGEST]) == []


def test_what_may_repeat_an_event_is_compared_with_all_segments(bridge, subscriptions):
    bridge.load(bridge.file())
    deliver(bridge, 1, [(1, 1001, JULY, 1)])
    deliver(bridge, 1, [(1, 1002, JULY, 2), (2, 1002, JULY, 3)])
    assert len(paths_read(bridge, 1002)) == 2
    assert list(read(bridge, subscriptions=[1002])) == [2]
    assert paths_read(bridge, subscriptions["S-2"]) == []


def test_only_segments_that_are_not_compacted_have_a_filter(bridge):
    bridge.load(bridge.file(bridge.call(1)))
    compact(bridge.database, bridge.store, now=bridge.now)
    bridge.load(bridge.file(bridge.call(2), name="next.csv"))
    with bridge.database.transaction(now=bridge.now) as uow:
        rows = uow.query(
            "SELECT state FROM usage_segment WHERE subscription_filter IS NOT NULL ORDER BY id"
        )
    assert [row["state"] for row in rows] == ["replaced", "fresh"]
