"""Current charges over HTTP: usage is in them as soon as it was answered."""

from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pytest

BOOK = """
products: [{id: rooms, name: Rooms}]
meters: [{id: dial_out, name: Dial-out, unit: second, aggregation: sum}]
rate_plans:
  - id: standard
    product: rooms
    name: Standard
    charges:
      - {id: room, name: Managed room, kind: recurring, timing: in_advance, period: month,
         unit: room, prices: [{currency: EUR, model: per_unit, amount: 120.10}]}
      - {id: dial-out, name: Dial-out, kind: usage, meter: dial_out, event_increment: 60,
         unit: minute, unit_size: 60,
         prices: [{currency: EUR, model: per_unit, amount: 0.22, included: 1}]}
"""


@pytest.fixture(scope="module")
def subscribed(served) -> None:  # type: ignore[no-untyped-def]
    """ACME has had a room and minutes since the first of this month."""
    with served.client() as api:
        kind = {"content-type": "application/yaml"}
        api.post("/price-books", content=BOOK, headers=kind).raise_for_status()
        account = api.post("/accounts", json={"external_id": "ACME", "name": "Acme"}).json()
        profile = {"account_id": account["id"], "currency": "EUR"}
        api.post("/billing-profiles", json=profile).raise_for_status()
        first = served.organisation.clock().date().replace(day=1)
        subscription = {
            "external_id": "S-1",
            "account": "ACME",
            "rate_plan": "standard",
            "start_date": first.isoformat(),
            "identifiers": ["bridge-4711"],
        }
        api.post("/subscriptions/activate", json=subscription).raise_for_status()


def send(api: httpx.Client, number: int) -> None:
    event = {
        "specversion": "1.0",
        "id": f"call-{number}",
        "source": "/bridges/fra-1",
        "type": "dial_out",
        "subject": "bridge-4711",
        "time": datetime.now(UTC).isoformat(),
        "data": {"quantity": 90},
    }
    answer = api.post("/usage/events", json=event)
    assert answer.json()["accepted"] == 1, answer.text


def test_usage_shows_as_soon_as_it_was_answered(
    api: httpx.Client, subscribed: None, served
) -> None:  # type: ignore[no-untyped-def]
    tables = ("invoice", "rated_charge", "bill_run")
    for number in (1, 2, 3):
        send(api, number)
        answer = api.get("/accounts/ACME/current-charges")
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found["meters"][0]["events"] == number
    minutes, room = found["charges"]
    assert (room["charge"], room["state"]) == ("room", "due")
    assert (minutes["charge"], minutes["state"], minutes["events"]) == ("dial-out", "running", 3)
    # Three calls of two minutes, one minute of them included: 5 x 0.22.
    assert (Decimal(minutes["quantity"]), Decimal(minutes["included_quantity"])) == (6, 1)
    assert Decimal(minutes["amount"]) == Decimal(found["running"]) == Decimal("1.10")
    assert Decimal(room["amount"]) == Decimal(found["due"]) == Decimal("120.10")
    assert Decimal(found["total"]) == Decimal("121.20")
    assert (found["currency"], found["problems"]) == ("EUR", [])
    assert (found["meters"][0]["meter"], Decimal(found["meters"][0]["quantity"])) == (
        "dial_out",
        270,
    )
    assert [served.count(table) for table in tables] == [0, 0, 0]


def test_an_unknown_account_is_not_found(api: httpx.Client, subscribed: None) -> None:
    assert api.get("/accounts/NOBODY/current-charges").status_code == 404


def test_what_was_spent_of_a_budget_is_answered(api: httpx.Client, subscribed: None) -> None:
    budget = {"external_id": "b", "name": "Budget", "amount": "100.00", "currency": "EUR"}
    account = api.get("/accounts", params={"external_id": "ACME"}).json()["records"][0]
    budget["account_id"] = account["id"]
    made = api.post("/spending-thresholds", json=budget)
    assert made.status_code == 201, made.text
    (found,) = api.get("/accounts/ACME/spending").json()
    assert (found["threshold"], found["reached"], found["complete"]) == ("b", True, True)
    assert Decimal(found["spent"]) >= Decimal("120.10")
    wrong = api.post("/spending-thresholds", json={**budget, "external_id": "c", "amount": "0"})
    assert wrong.status_code == 422
    assert api.get("/accounts/NOBODY/spending").status_code == 404
