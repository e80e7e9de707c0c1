"""Usage over HTTP, sent by the CloudEvents SDK as a peer and by plain clients."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest
from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

BOOK = """
products: [{id: conferencing, name: Conferencing}]
meters: [{id: dial_out, name: Dial-out, unit: second, aggregation: sum}]
rate_plans:
  - id: standard
    product: conferencing
    name: Standard
    charges:
      - {id: dial-out, name: Dial-out, kind: usage, meter: dial_out, event_increment: 60,
         unit: minute, unit_size: 60, prices: [{currency: EUR, model: per_unit, amount: 0.22}]}
"""
BATCH = {"content-type": "application/cloudevents-batch+json"}
"""Header of a batch of structured events."""


@pytest.fixture(scope="module")
def subscriber(served) -> str:  # type: ignore[no-untyped-def]
    """The usage identifier of a subscription."""
    with served.client() as api:
        kind = {"content-type": "application/yaml"}
        api.post("/price-books", content=BOOK, headers=kind).raise_for_status()
        account = {"external_id": "ACME", "name": "Acme"}
        api.post("/accounts", json=account).raise_for_status()
        subscription = {
            "external_id": "S-1",
            "account": "ACME",
            "rate_plan": "standard",
            "start_date": "2026-01-01",
            "identifiers": ["bridge-4711"],
        }
        api.post("/subscriptions/activate", json=subscription).raise_for_status()
    return "bridge-4711"


def event(name: str, subject: str, quantity: object = 1800) -> CloudEvent:
    attributes = {
        "id": name,
        "source": "/bridges/fra-1",
        "type": "dial_out",
        "subject": subject,
        "specversion": "1.0",
        "time": datetime(2026, 1, 15, 9, 30, tzinfo=UTC),
        "datacontenttype": "application/json",
    }
    return CloudEvent(attributes=attributes, data={"quantity": quantity})


def batch(*events: CloudEvent) -> bytes:
    return json.dumps([json.loads(JSONFormat().write(one)) for one in events]).encode()


def counts(response: httpx.Response) -> tuple[int, int, int]:
    assert response.status_code == 200, response.text
    answer = response.json()
    return answer["accepted"], answer["duplicate"], answer["rejected"]


@pytest.mark.parametrize("mode", [to_structured, to_binary], ids=["structured", "binary"])
def test_an_event_counts_once(
    api: httpx.Client, subscriber: str, mode: Callable[..., object]
) -> None:
    message = mode(event(f"call in {mode.__name__} ü", subscriber), JSONFormat())
    send = {"content": message.body, "headers": message.headers}  # type: ignore[attr-defined]
    assert counts(api.post("/usage/events", **send)) == (1, 0, 0)
    assert counts(api.post("/usage/events", **send)) == (0, 1, 0)


def test_both_modes_say_the_same_event(api: httpx.Client, subscriber: str) -> None:
    said = event("said twice", subscriber)
    for mode, expected in ((to_binary, (1, 0, 0)), (to_structured, (0, 1, 0))):
        message = mode(said, JSONFormat())
        response = api.post("/usage/events", content=message.body, headers=message.headers)
        assert counts(response) == expected


def test_a_batch_tells_which_events_were_rejected_and_why(
    api: httpx.Client, subscriber: str
) -> None:
    body = batch(
        event("batch 1", subscriber),
        event("batch 2", "nobody"),
        event("batch 1", subscriber),
        event("batch 3", subscriber, "many"),
    )
    response = api.post("/usage/events", content=body, headers=BATCH)
    assert counts(response) == (1, 1, 2)
    rejections = response.json()["rejections"]
    assert [rejection["index"] for rejection in rejections] == [1, 3]
    assert rejections[0]["reason"] == "unknown_subscriber"
    open_ones = api.get("/rejected-usage", params={"batch_id": response.json()["batch_id"]})
    assert len(open_ones.json()["records"]) == 2


def test_rejected_usage_is_mended_and_taken_in_again(api: httpx.Client, subscriber: str) -> None:
    body = batch(event("to mend", "nobody"), event("to dismiss", "nobody"))
    batch_id = api.post("/usage/events", content=body, headers=BATCH).json()["batch_id"]
    found = api.get("/rejected-usage", params={"batch_id": batch_id}).json()["records"]
    first, second = (record["id"] for record in found)
    mended = {"ids": [first], "mended": {str(first): {"subject": subscriber}}}
    rerun = api.post("/rejected-usage/rerun", json=mended)
    assert counts(rerun) == (1, 0, 0)
    assert api.post("/rejected-usage/rerun", json=mended).status_code == 409
    assert api.post("/rejected-usage/dismiss", json={"ids": [second]}).json() == {"dismissed": 1}
    after = api.get("/rejected-usage", params={"batch_id": batch_id, "sort": "id"}).json()
    assert [record["status"] for record in after["records"]] == ["accepted", "dismissed"]


def test_a_key_replays_the_first_answer(
    api: httpx.Client, subscriber: str, key: dict[str, str]
) -> None:
    body = batch(event("with key", subscriber))
    first = api.post("/usage/events", content=body, headers=BATCH | key)
    again = api.post("/usage/events", content=body, headers=BATCH | key)
    assert first.content == again.content
    assert again.headers["idempotency-replayed"] == "true"
    other = api.post("/usage/events", content=batch(), headers=BATCH | key)
    assert other.status_code == 422


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"[{", "application/cloudevents-batch+json", 400),
        (b"", "application/cloudevents+json", 400),
        (b"\xff", "application/json", 400),
        (b"a,b\n1,2\n", "text/csv", 415),
    ],
)
def test_what_is_no_event_is_refused(
    api: httpx.Client, body: bytes, kind: str, status: int
) -> None:
    refused = api.post("/usage/events", content=body, headers={"content-type": kind})
    assert refused.status_code == status
    assert refused.headers["content-type"] == "application/problem+json"


def test_many_clients_lose_and_double_nothing(served, subscriber: str) -> None:  # type: ignore[no-untyped-def]
    def send(client: int) -> tuple[int, int, int]:
        names = [f"load {client // 2} {number}" for number in range(50)]
        body = batch(*(event(name, subscriber) for name in names))
        with served.client() as api:
            return counts(api.post("/usage/events", content=body, headers=BATCH))

    with ThreadPoolExecutor(8) as threads:
        accepted, duplicate, rejected = map(sum, zip(*threads.map(send, range(8)), strict=True))
    assert (accepted, duplicate, rejected) == (200, 200, 0)


def test_a_file_is_imported_once(api: httpx.Client, subscriber: str) -> None:
    definition = {
        "format": "csv",
        "source": "bridge",
        "time_formats": ["%Y-%m-%d %H:%M:%S"],
        "fields": {
            "event_id": "call",
            "time": "start",
            "identifier": "account",
            "meter": {"constant": "dial_out"},
            "quantity": "seconds",
        },
    }
    collector = {"external_id": "bridge", "name": "Bridge", "definition": definition}
    created = api.post("/collectors", json=collector)
    assert created.status_code == 201, created.text
    file = "call,start,account,seconds\nc1,2026-01-10 10:00:00,bridge-4711,90\nc2,soon,x,1\n"
    where = {"collector": "bridge", "name": "../january.csv"}
    first = api.post("/usage/files", params=where, content=file.encode())
    assert counts(first) == (1, 0, 1)
    assert (first.json()["file_name"], first.json()["already_imported"]) == ("january.csv", False)
    again = api.post("/usage/files", params=where, content=file.encode())
    assert (counts(again), again.json()["already_imported"]) == ((1, 0, 1), True)


def test_an_upload_needs_a_known_collector_and_leaves_nothing(served, api: httpx.Client) -> None:  # type: ignore[no-untyped-def]
    assert api.post("/usage/files", content=b"a").status_code == 422
    unknown = api.post("/usage/files", params={"collector": "nobody"}, content=b"a")
    assert unknown.status_code == 404
    assert list(served.organisation.home.glob("upload-*")) == []
