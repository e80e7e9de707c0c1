"""Re-rating over HTTP."""

import httpx
import pytest
from tests.interfaces.rest.test_bills import billed

__all__ = ["billed"]

OWN_PRICE = {
    "prices": [
        {"account": "ACME", "charge": "room", "currency": "EUR", "model": "per_unit", "amount": 100}
    ]
}
JANUARY = {"from": "2026-01", "to": "2026-01"}


def test_the_difference_is_shown_then_made_once(
    api: httpx.Client, billed: object, key: dict[str, str]
) -> None:
    api.post("/invoices/finalize", json={}).raise_for_status()
    assert api.post("/reratings", json=JANUARY).json()["differences"] == 0
    api.post("/price-books", json=OWN_PRICE).raise_for_status()
    shown = api.post("/reratings", json={**JANUARY, "accounts": ["ACME"]})
    assert shown.status_code == 200, shown.text
    assert shown.json()["totals"] == {
        "EUR": {"billed": "240.2", "now": "200", "difference": "-40.2", "discounts": "0"}
    }
    assert shown.json()["bill_run_id"] is None
    order = {**JANUARY, "apply": True, "invoice_date": "2026-02-10"}
    made = api.post("/reratings", json=order, headers=key).json()
    assert (made["invoices"], made["listed"][0]["difference"]) == (1, "-40.2")
    assert api.post("/reratings", json=order, headers=key).json() == made
    assert api.post("/reratings", json=order).json()["differences"] == 0
    adjustment = api.get("/adjustments").json()["records"][0]
    assert (adjustment["billed_amount"], adjustment["rated_amount"]) == ("240.2", "200")
    charges = api.get("/rated-charges", params={"adjustment_id": adjustment["id"]}).json()
    assert sorted(row["kind"] for row in charges["records"]) == ["adjustment", "recurring"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({**JANUARY, "to": "2025-12"}, 422),
        ({**JANUARY, "accounts": "ACME"}, 422),
        ({**JANUARY, "accounts": ["NOBODY"]}, 404),
        ({**JANUARY, "applied": True}, 422),
    ],
)
def test_what_cannot_be_rated_again(
    api: httpx.Client, billed: object, body: dict[str, object], status: int
) -> None:
    answer = api.post("/reratings", json=body)
    assert answer.status_code == status, answer.text
