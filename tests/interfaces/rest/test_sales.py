"""Sales over HTTP: who may, what is refused, what is answered again."""

import httpx
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
