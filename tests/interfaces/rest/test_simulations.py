"""Simulations over HTTP."""

import httpx
import pytest
from tests.interfaces.rest.test_bills import BOOK, billed

__all__ = ["billed"]

YAML = {"content-type": "application/yaml"}
QUARTER = {"from": "2026-01", "to": "2026-02"}


def test_a_draft_changes_what_it_prices(api: httpx.Client, billed: object) -> None:
    draft = BOOK.replace("120.10", "118.10")
    answer = api.post("/simulations", content=draft, headers=YAML, params=QUARTER)
    assert answer.status_code == 200, answer.text
    report = answer.json()
    # Two rooms for two months at 2.00 less.
    assert report["totals"] == [
        {
            "currency": "EUR",
            "billed": "480.84",
            "present": "480.84",
            "draft": "472.84",
            "change": "-8",
            "change_percent": "-1.7",
            "present_discount": "0",
            "draft_discount": "0",
            "present_commitment": "0",
            "draft_commitment": "0",
            "present_prepaid": "0",
            "draft_prepaid": "0",
        }
    ]
    assert [(row["account"], row["change"]) for row in report["accounts"]] == [("ACME", "-8")]
    again = api.post("/simulations", content=BOOK, headers=YAML, params=QUARTER)
    assert again.json()["totals"][0]["change"] == "0"


def test_a_draft_in_json_of_some_accounts(api: httpx.Client, billed: object) -> None:
    draft = {"prices": [{"account": "ACME", "charge": "room", "currency": "EUR",
                         "model": "per_unit", "amount": 100}]}  # fmt: skip
    answer = api.post("/simulations", json=draft, params={**QUARTER, "account": "ACME"})
    assert answer.json()["totals"][0]["draft"] == "400.44"


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({}, 422),
        ({"from": "2026-01"}, 422),
        ({**QUARTER, "to": "soon"}, 422),
        ({**QUARTER, "account": "NOBODY"}, 404),
        ({**QUARTER, "template": "gold"}, 404),
    ],
)
def test_what_cannot_be_simulated(
    api: httpx.Client, billed: object, params: dict[str, str], status: int
) -> None:
    answer = api.post("/simulations", content=BOOK, headers=YAML, params=params)
    assert answer.status_code == status, answer.text
