"""Corrections of usage over HTTP."""

import httpx
import pytest
from tests.interfaces.rest.test_bills import billed

__all__ = ["billed"]

EVENT = {"source": "/bridges/fra-1", "event_id": "call-1"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (EVENT, "give either quantity or withdraw"),
        ({**EVENT, "quantity": "60", "withdraw": True}, "give either quantity or withdraw"),
        ({**EVENT, "quantity": "-1"}, "at least 0"),
        ({**EVENT, "event_id": "call-9", "quantity": "60"}, "there is no event 'call-9'"),
    ],
)
def test_what_cannot_be_corrected(
    api: httpx.Client, billed: object, body: dict[str, object], said: str
) -> None:
    answer = api.post("/usage/corrections", json=body)
    assert answer.status_code == 422, answer.text
    assert said in answer.text


def test_a_billed_event_is_withdrawn_and_credited(api: httpx.Client, billed: object) -> None:
    api.post("/invoices/finalize", json={}).raise_for_status()
    body = {"corrections": [{**EVENT, "withdraw": True, "reason": "test call"}]}
    made = api.post("/usage/corrections", json=body)
    assert made.json()["withdrawn"] == 1, made.text
    assert api.post("/usage/corrections", json=body).json()["unchanged"] == 1
    record = api.get("/usage-corrections").json()["records"][0]
    assert (record["event_id"], record["quantity"], record["reason"]) == (
        "call-1",
        None,
        "test call",
    )
    run = api.post("/bill-runs", json={"billing_date": "2026-02-01"}).json()
    assert run["totals"] == {"EUR": "-0.44"}
