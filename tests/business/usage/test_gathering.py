"""Events over HTTP: gathered into commits, answered one by one, durable when answered."""

import json
from threading import Thread

import pytest
from tests.business.usage.conftest import CLOUD_EVENT

from counterfoil.business.usage.gathering import (
    Gatherer,
    accept_cloud_events,
    decode_cloud_events,
)
from counterfoil.core.problems import Refused


def event(number, **changes):
    return {**CLOUD_EVENT, "id": f"E{number}", **changes}


@pytest.fixture
def gatherer(bridge):
    with Gatherer(bridge.database, bridge.store, lambda: bridge.now) as opened:
        yield opened


def test_single_event_is_stored_exactly(bridge, gatherer):
    body = json.dumps(event(1)).replace("90", "12345678.123456789012345").encode()
    receipt = gatherer.submit(body)
    assert (receipt.accepted, receipt.duplicate, receipt.rejected) == (1, 0, ())
    assert bridge.events("source", "event_id", "quantity::VARCHAR") == [
        ("/bridge/1", "E1", "12345678.123456789012345")
    ]


def test_event_without_quantity_counts_as_one(bridge, gatherer):
    gatherer.submit(json.dumps([event(1, data=None), event(2, data={})]).encode())
    assert bridge.events("quantity") == [(1,), (1,)]


def test_each_request_hears_of_its_own_events_by_index(bridge, gatherer):
    futures = [
        gatherer.begin(decode_cloud_events(json.dumps(batch).encode()))
        for batch in (
            [event(1), event(2, subject="nobody"), event(3)],
            event(4, type="unheard"),
            [],
            [event(1, data={"quantity": 5}), event(5), 7, event(6, specversion="0.3")],
        )
    ]
    receipts = [future.result() for future in futures]
    assert [(r.accepted, r.duplicate) for r in receipts] == [(2, 0), (0, 0), (0, 0), (1, 1)]
    assert [[(b.index, b.reason) for b in r.rejected] for r in receipts] == [
        [(1, "unknown_subscriber")],
        [(0, "unknown_service")],
        [],
        [(2, "malformed_record"), (3, "malformed_record")],
    ]
    assert len(bridge.rejected()) == 4
    assert dict(bridge.events("event_id", "quantity"))["E1"] == 90


def test_many_threads_lose_and_double_nothing(bridge, gatherer):
    def send(thread):
        for number in range(20):
            gatherer.submit(json.dumps([event(number), event(f"{thread}-{number}")]).encode())

    threads = [Thread(target=send, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bridge.events()) == 20 + 8 * 20
    with bridge.database.transaction(now=bridge.now) as uow:
        batches = uow.query("SELECT count(*) AS n, sum(accepted) AS a FROM usage_batch")[0]
    assert batches["a"] == 180
    assert batches["n"] < 160


def test_new_subscriber_is_known_at_once(bridge, gatherer):
    assert gatherer.submit(json.dumps(event(1)).encode()).accepted == 1
    with bridge.database.transaction(now=bridge.now) as uow:
        uow.create("usage_identifier", {"identifier": "new", "subscription_id": 1})
    assert gatherer.submit(json.dumps(event(2, subject="new")).encode()).accepted == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[1,", b"\xff{}", b'{"id": "\xe9"}'])
def test_body_that_is_not_json_is_refused(gatherer, body):
    with pytest.raises(Refused) as refused:
        gatherer.submit(body)
    assert refused.value.status == 400


def test_closed_gatherer_commits_what_it_has_and_refuses_more(bridge):
    gatherer = Gatherer(bridge.database, bridge.store, lambda: bridge.now)
    futures = [gatherer.begin(decode_cloud_events(json.dumps(event(n)).encode())) for n in (1, 2)]
    gatherer.close()
    gatherer.close()
    assert [future.result().accepted for future in futures] == [1, 1]
    with pytest.raises(Refused) as refused:
        gatherer.submit(json.dumps(event(3)).encode())
    assert refused.value.status == 503
    assert len(bridge.events()) == 2


def test_commit_that_fails_is_an_error_of_its_requests_only(bridge):
    gatherer = Gatherer(bridge.database, bridge.store, lambda: bridge.now, collector="nix")
    with gatherer, pytest.raises(Refused, match="no collector 'nix'"):
        gatherer.submit(json.dumps(event(1)).encode())
    assert list((bridge.store.folder / "incoming").iterdir()) == []


def test_one_body_without_a_gatherer(bridge):
    body = json.dumps([event(1), event(2)]).encode()
    accepted = accept_cloud_events(bridge.database, bridge.store, body, now=bridge.now)
    assert accepted.accepted == 2
