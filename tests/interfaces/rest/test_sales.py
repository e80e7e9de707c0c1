"""Sales over HTTP: who may, what is refused, what is answered again."""

from datetime import UTC, datetime

import httpx
import pytest
from tests.business.sales.conftest import PRICES, Shop
from tests.interfaces.rest.conftest import NUMBERS, Served


def caller(served: Served, api: httpx.Client, *commands: str, **grants: bool) -> httpx.Client:
    """A client with an API key of a new user whose role grants these commands and all reading."""
    name = f"user-{next(NUMBERS)}"
    role = api.post("/access-roles", json={"external_id": name, "commands": list(commands)})
    grant = {"access_role_id": role.json()["id"], "entity": "*", **grants}
    assert api.post("/access-grants", json=grant).status_code == 201
    user = api.post("/access-users", json={"external_id": name}).json()["id"]
    api.post("/user-roles", json={"access_user_id": user, "access_role_id": role.json()["id"]})
    body = {"name": name, "user": name, "expires_at": "2027-01-01T00:00:00Z"}
    key = api.post("/api-keys", json=body)
    assert key.status_code == 201, key.text
    return served.client(key.json()["key"])


def test_a_lead_becomes_a_customer(served: Served, api: httpx.Client) -> None:
    lead = {"external_id": "L1", "company": "Globex", "person": "Ada", "currency": "USD"}
    made = api.post("/leads", json={**lead, "country": "US", "source": "fair"})
    assert made.status_code == 201, made.text
    before = served.count("account")
    nobody = caller(served, api)
    refused = nobody.post("/leads/convert", json={"lead": "L1"})
    assert (refused.status_code, served.count("account")) == (403, before)
    asked = {"conversions": [{"lead": "L1", "amount": "1200", "close_date": "2026-06-30"}]}
    seller = caller(served, api, "convert_leads")
    for fresh in (True, False):
        answer = seller.post("/leads/convert", json=asked)
        assert answer.status_code == 201, answer.text
        (converted,) = answer.json()["converted"]
        assert (converted["account"], converted["fresh"]) == ("L1", fresh)
    assert served.count("account") == before + 1
    found = api.get("/opportunities", params={"external_id": "L1"}).json()["records"][0]
    assert (found["amount"], found["probability"]) == ("1200", 25)


def test_what_is_wrong_with_leads_is_told_with_line_and_field(
    served: Served, api: httpx.Client
) -> None:
    before = served.count("account")
    body = {"conversions": [{"lead": "L9", "account": "Q"}, {"lead": "L8"}]}
    answer = api.post("/leads/convert", json=body)
    assert answer.status_code == 422
    assert [(one["field"], one["line"]) for one in answer.json()["errors"]] == [
        ("lead", 1),
        ("lead", 2),
    ]
    assert api.post("/leads/convert", json={"lead": "L", "x": 1}).status_code == 422
    assert served.count("account") == before


@pytest.fixture(scope="module")
def shop(served: Served) -> Shop:
    """ACME with two sites, and prices for everything, in the organisation that is served."""
    shop = Shop(served.organisation)
    shop.load_prices(PRICES)
    account = shop.open_account("ACME")
    with shop.work() as uow:
        sites = [
            {"external_id": name, "account_id": account, "name": name, "country": "US"}
            for name in ("HQ", "LAB")
        ]
        uow.create_many("site", sites)
    return shop


def test_from_a_quote_to_an_order_and_its_first_invoice(
    served: Served, api: httpx.Client, shop: Shop
) -> None:
    today = datetime.now(UTC).date()
    body = {
        "account": "ACME",
        "start_date": str(today),
        "lines": [
            {"rate_plan": "rooms", "site": "HQ", "quantity": "2", "discount_percent": "20"},
            {"rate_plan": "minutes", "usage": [{"meter": "seconds", "quantity": "600"}]},
        ],
    }
    before = [served.count(one) for one in ("quote", "invoice")]
    assert caller(served, api).post("/quotes/make", json=body).status_code == 403
    assert [served.count(one) for one in ("quote", "invoice")] == before
    seller = caller(served, api, "make_quotes", "send_quotes", "see_quotes")
    made = seller.post("/quotes/make", json=body)
    assert made.status_code == 201, made.text
    (quote,) = made.json()["quotes"]
    path, name = f"/quotes/{quote['id']}", quote["number"]
    assert (quote["lines"][0]["one_off"], "link_key" in quote) == ("79.2", False)
    refused = seller.post(f"{path}/send", json={})
    assert refused.json()["errors"][0]["code"] == "discount_too_high"
    assert seller.post(f"{path}/ask-approval", json={}).json()["status"] == "in_approval"
    assert seller.post(f"{path}/approve", json={"approved": True}).status_code == 403
    approved = api.post(f"{path}/approve", json={"approved": True, "comment": "fits"})
    assert (approved.json()["status"], approved.json()["approved_by"]) == ("approved", "admin")
    sent = seller.post(f"{path}/send", json={})
    assert sent.status_code == 200, sent.text
    assert sent.json()["path"].startswith("/accept/")
    assert seller.get(f"{path}/document.pdf").content[:5] == b"%PDF-"
    changed = seller.post(f"{path}/change", json=body)
    assert (changed.status_code, changed.json()["errors"][0]["code"]) == (409, "quote_sent")
    assert seller.post(f"{path}/accept", json={"name": "Ada"}).status_code == 403
    accepted = api.post(f"{path}/accept", json={"name": "Ada"})
    assert accepted.json()["status"] == "accepted"
    wanted = {"quotes": [name], "bill": True, "purchase_order": "PO-7"}
    assert seller.post("/quotes/convert", json=wanted).status_code == 403
    for fresh in (True, False):
        answer = api.post("/quotes/convert", json=wanted)
        assert answer.status_code == 201, answer.text
        (ordered,) = answer.json()["converted"]
        assert (ordered["fresh"], ordered["lines"]) == (fresh, {"activated": 2})
        (run,) = answer.json()["bill_runs"]
        assert run["totals"] == ({"USD": quote["invoices"][0]["total"]} if fresh else {})
    found = seller.get(f"{path}/overview").json()
    assert found["status"] == "converted"
    assert found["lines"][1]["charges"][0]["explanation"][0].startswith("Price ")
    declined = api.post(f"{path}/decline", json={})
    assert (declined.status_code, declined.json()["errors"][0]["code"]) == (409, "wrong_status")


def test_what_is_wrong_with_a_quote_is_told(api: httpx.Client, shop: Shop, served: Served) -> None:
    before = served.count("quote")
    bad = {"account": "ACME", "start_date": "2026-03-01", "lines": [{"rate_plan": "x"}, {}]}
    answer = api.post("/quotes/make", json={"quotes": [bad]})
    assert [(one["field"], one["line"]) for one in answer.json()["errors"]] == [
        ("lines.rate_plan", 2)
    ]
    bad["lines"] = [{"rate_plan": "rooms"}, {"rate_plan": "x"}]
    answer = api.post("/quotes/make", json=bad)
    assert (answer.status_code, answer.json()["errors"][0]["line"]) == (422, 2)
    assert api.post("/quotes/convert", json={"quotes": ["Q-9"]}).status_code == 404
    assert api.post("/quotes/convert", json={"quotes": [1]}).status_code == 422
    assert api.post("/quotes", json={"number": "x"}).status_code == 405
    assert served.count("quote") == before
