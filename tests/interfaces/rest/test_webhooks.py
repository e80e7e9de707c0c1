"""Webhooks over REST: made, never showing their secret, and their deliveries sent again."""

import json
import logging

import httpx
import pytest

from counterfoil.bootstrap import Settings
from counterfoil.business.automation.delivering import Courier
from counterfoil.business.automation.messages import Channels, Message, Outcome

SECRET = "whsec_bW9yZSB0aGFuIHR3ZW50eS1mb3VyIHJhbmRvbSBieXRlcw=="
KEY = SECRET.removeprefix("whsec_")
WEBHOOK = {
    "external_id": "CRM",
    "url": "https://crm.example/hooks",
    "event_types": ["bill_run.finished"],
    "secret": SECRET,
}


class Postbox:
    """A channel that keeps what is posted."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, str, Message]] = []

    def post(self, url: str, secret: str, message: Message, _now: object) -> Outcome:
        self.posted.append((url, secret, message))
        return Outcome(status_code=200)


def test_a_delivery_is_read_and_sent_again(served, api: httpx.Client) -> None:  # type: ignore[no-untyped-def]
    erp = {"external_id": "ERP", "url": "https://erp.example/hooks"}
    made = api.post("/webhooks", json=WEBHOOK | erp)
    assert made.status_code == 201
    assert api.post("/bill-runs", json={"billing_date": "2026-02-01"}).status_code == 200
    organisation, postbox = served.organisation, Postbox()
    courier = Courier(organisation.database, Channels(postbox, None), organisation.clock)  # type: ignore[arg-type]
    courier.deliver_due()
    ours = {"webhook_id": made.json()["id"]}
    (delivery,) = api.get("/deliveries", params=ours).json()["records"]
    assert (delivery["state"], delivery["attempts"], delivery["status_code"]) == (
        "delivered",
        1,
        200,
    )
    replayed = api.post(f"/deliveries/{delivery['id']}/replay")
    assert (replayed.status_code, replayed.json()["state"]) == (200, "pending")
    courier.deliver_due()
    log = api.get("/delivery-attempts", params={"delivery_id": delivery["id"]}).json()["records"]
    assert [attempt["attempt"] for attempt in log] == [1, 2]
    first, second = [posted for posted in postbox.posted if posted[0] == erp["url"]]
    assert first == second
    assert first[1] == SECRET
    assert json.loads(first[2].body)["data"]["invoices"] == 0
    assert api.post("/deliveries/999/replay").status_code == 404


def test_no_answer_and_no_log_shows_a_secret(  # type: ignore[no-untyped-def]
    served, server: Settings, api: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {"Idempotency-Key": "webhook"}
    made = api.post("/webhooks", json=WEBHOOK, headers=headers)
    again = api.post("/webhooks", json=WEBHOOK, headers=headers)
    path = f"/webhooks/{made.json()['id']}"
    answers = [
        made,
        again,
        api.get(path),
        api.get("/webhooks"),
        api.patch(path, json={"secret": SECRET.replace("bW9", "bW8")}),
        api.patch(path, json={"secret": KEY}),
        api.post("/webhooks", json=WEBHOOK),
        api.post("/webhooks", json=WEBHOOK | {"external_id": None}),
        api.get("/webhooks", params={"secret": SECRET}),
        api.get("/webhooks", params={"secret__contains": "whsec"}),
        api.get("/webhooks", params={"sort": "secret"}),
        api.get("/webhooks", params={"secret__gt": "a"}),
    ]
    assert [answer.status_code for answer in answers] == [
        *(201, 201, 200, 200, 200, 422, 409, 422, 422, 422, 422, 422)
    ]
    for answer in answers:
        assert KEY not in answer.text
    with served.organisation.database.transaction(now=served.organisation.clock()) as uow:
        kept = uow.query("SELECT changes::text FROM record_change WHERE entity = 'webhook'")
        kept += uow.query("SELECT body FROM idempotent_answer")
        assert uow.query("SELECT secret FROM webhook WHERE external_id = 'CRM'") != []
    assert len(kept) >= 3
    assert KEY not in str(kept)
    ours = [record for record in caplog.records if record.name.startswith(("counterfoil", "sqla"))]
    assert KEY not in str([record.getMessage() for record in ours])
    for log in server.home.rglob("*.log"):
        assert KEY not in log.read_text(errors="replace")


def test_the_description_says_that_a_secret_is_only_written(api: httpx.Client) -> None:
    schemas = api.get("/openapi.json").json()["components"]["schemas"]
    assert "secret" not in schemas["Webhook"]["properties"]
    assert schemas["WebhookCreate"]["properties"]["secret"]["writeOnly"] is True
    listing = api.get("/openapi.json").json()["paths"]["/api/v1/webhooks"]["get"]
    assert "secret" not in {parameter["name"] for parameter in listing["parameters"]}
