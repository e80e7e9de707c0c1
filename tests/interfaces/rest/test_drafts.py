"""Drafts over HTTP: who may approve and arrange them, and what is refused."""

from datetime import UTC, date, datetime

import httpx
import pytest
from tests.business.billing.conftest import Company
from tests.interfaces.rest.conftest import NUMBERS, Served

NOW = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture
def draft(served: Served) -> int:
    """The id of a draft of two rooms, which has to be approved."""
    company = Company(served.organisation)
    if not served.count("rate_plan"):
        company.load_prices()
    name = f"D{next(NUMBERS)}"
    account = company.open_account(name, approval="all")
    for number in (1, 2):
        company.subscribe(f"S-{name}-{number}", name, "rooms", date(2024, 1, 1))
    company.bill(date(2024, 1, 1), accounts=[account])
    with company.database.transaction(now=NOW) as uow:
        found = uow.find("invoice", account_id=account)
    assert found is not None
    assert found["state"] == "draft"
    return int(found["id"])


def test_a_draft_is_split_merged_approved_and_becomes_final(api: httpx.Client, draft: int) -> None:
    split = api.post(f"/invoices/{draft}/split", json={"lines": [2], "purchase_order": "PO-9"})
    assert split.status_code == 201
    new = split.json()["invoices"][1]
    assert (new["total"], new["purchase_order"]) == ("249.95", "PO-9")
    waiting = api.get("/waiting-drafts").json()["invoices"]
    assert {draft, new["id"]} <= {row["id"] for row in waiting}
    merged = api.post("/invoices/merge", json={"invoice_ids": [draft, new["id"]]})
    assert (merged.json()["id"], merged.json()["total"]) == (draft, "499.9")
    refused = api.post("/invoices/finalize", json={"invoice_ids": [draft]})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (409, "not_approved")
    approved = api.post("/invoices/approve", json={"invoice_ids": [draft]})
    assert approved.json()["invoices"][0]["approved_by"]
    done = api.post("/invoices/finalize", json={"invoice_ids": [draft]})
    assert done.json() == {"finalized": 1, "kept_back": 0, "waiting": 0}


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("approve", {"invoice_ids": [987654]}, 404, "unknown_invoice"),
        ("approve", {"invoice_ids": []}, 422, "required"),
        ("approve", {}, 422, "required"),
        ("approve", {"invoice_ids": "all"}, 422, "wrong_type"),
        ("refuse", {"invoice_ids": [1]}, 422, "required"),
        ("refuse", {"invoice_ids": [1], "reason": " "}, 422, "required"),
        ("merge", {"invoice_ids": [1]}, 422, "required"),
        ("{id}/split", {"lines": [9]}, 422, "unknown_line"),
        ("{id}/split", {"lines": []}, 422, "unknown_line"),
        ("{id}/split", {"lines": [1, 2]}, 422, "nothing_left"),
    ],
)
def test_what_is_wrong_is_refused(
    api: httpx.Client, served: Served, path: str, body: object, status: int, code: str, draft: int
) -> None:
    before = (served.count("invoice"), served.count("invoice_line"))
    answer = api.post(f"/invoices/{path.format(id=draft)}", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code)
    assert (served.count("invoice"), served.count("invoice_line")) == before
