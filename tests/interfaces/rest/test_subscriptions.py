"""Price books and subscriptions over HTTP."""

import httpx
import pytest

BOOK = """
products: [{id: rooms, name: Rooms}]
rate_plans:
  - id: standard
    product: rooms
    name: Standard
    charges:
      - {id: room, name: Managed room, kind: recurring, timing: in_advance, period: month,
         unit: room, prices: [{currency: EUR, model: per_unit, amount: 120.10}]}
"""
YAML = {"content-type": "application/yaml"}


@pytest.fixture(autouse=True)
def price_book(api: httpx.Client) -> None:
    """Every test has the price book above."""
    saved = api.post("/price-books", content=BOOK, headers=YAML)
    assert saved.status_code == 200, saved.text


def activation(account: dict[str, object], name: str, **more: object) -> dict[str, object]:
    return {
        "external_id": f"{account['external_id']}-{name}",
        "account": account["external_id"],
        "rate_plan": "standard",
        "start_date": "2026-01-01",
        **more,
    }


def test_a_price_book_has_its_prices(api: httpx.Client) -> None:
    charge = api.get("/charges", params={"external_id": "room"}).json()["records"][0]
    price = api.get("/prices", params={"charge_id": charge["id"]}).json()["records"][0]
    tiers = api.get("/price-tiers", params={"price_id": price["id"]}).json()["records"]
    assert [(tier["unit_amount"], tier["up_to"]) for tier in tiers] == [("120.1", None)]


def test_a_price_book_may_be_json(api: httpx.Client) -> None:
    body = b'{\n\t"products": [{"id": "rooms", "name": "Rooms"}]\n}'
    saved = api.post("/price-books", content=body, headers={"content-type": "application/json"})
    assert saved.status_code == 200, saved.text


def test_a_wrong_price_book_is_refused_with_its_lines(api: httpx.Client) -> None:
    refused = api.post("/price-books", content=BOOK.replace("EUR", "EURO"), headers=YAML)
    assert refused.status_code == 422
    assert any(error.get("line") == 9 for error in refused.json()["errors"])


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"\xff", "application/yaml", 400),
        (b'{"products": ]}', "application/json", 400),
        (b"a: b", "image/png", 415),
        (b"[", "application/yaml", 422),
        (b"- nothing", "application/yaml", 422),
    ],
)
def test_what_is_no_price_book_is_refused(
    api: httpx.Client, body: bytes, kind: str, status: int
) -> None:
    refused = api.post("/price-books", content=body, headers={"content-type": kind})
    assert refused.status_code == status


def test_subscriptions_are_activated_together(api: httpx.Client, acme: dict[str, object]) -> None:
    api.post("/accounts", json=acme)
    rows = [activation(acme, "1", quantities={"room": 2.5}), activation(acme, "2")]
    activated = api.post("/subscriptions/activate", json={"subscriptions": rows})
    assert activated.status_code == 201, activated.text
    ids = activated.json()["ids"]
    query = {"subscription_id__in": ",".join(map(str, ids)), "sort": "subscription_id"}
    charges = api.get("/subscription-charges", params=query).json()["records"]
    assert [charge["quantity"] for charge in charges] == ["2.5", "1"]


def test_one_wrong_activation_refuses_all(api: httpx.Client, acme: dict[str, object]) -> None:
    api.post("/accounts", json=acme)
    rows = [activation(acme, "1"), activation(acme, "2", quantities={"room": "many"}, colour="red")]
    refused = api.post("/subscriptions/activate", json={"subscriptions": rows})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["line"] == 2
    query = {"external_id__contains": str(acme["external_id"])}
    assert api.get("/subscriptions", params=query).json()["records"] == []


def test_a_quantity_changes_and_a_subscription_ends(
    api: httpx.Client, acme: dict[str, object], key: dict[str, str]
) -> None:
    api.post("/accounts", json=acme)
    row = activation(acme, "1")
    first = api.post("/subscriptions/activate", json=row, headers=key)
    again = api.post("/subscriptions/activate", json=row, headers=key)
    assert first.json() == again.json()
    path = f"/subscriptions/{first.json()['ids'][0]}"
    change = {"charge": "room", "quantity": 3, "from_date": "2026-02-01"}
    assert api.post(f"{path}/change-quantity", json=change).status_code == 200
    ended = api.post(f"{path}/cancel", json={"end_date": "2026-03-01"})
    assert (ended.status_code, ended.json()["end_date"]) == (200, "2026-03-01")
    query = {"subscription_id": path.rpartition("/")[2], "sort": "start_date"}
    charges = api.get("/subscription-charges", params=query).json()["records"]
    assert [(c["quantity"], c["start_date"], c["end_date"]) for c in charges] == [
        ("1", "2026-01-01", "2026-02-01"),
        ("3", "2026-02-01", "2026-03-01"),
    ]


def test_commands_on_nothing(api: httpx.Client) -> None:
    cancelled = api.post("/subscriptions/999999/cancel", json={"end_date": "2026-03-01"})
    assert cancelled.status_code == 404
    assert api.post("/subscriptions/S-1/cancel", json={}).status_code == 404


def test_subscriptions_of_an_account_are_suspended_and_resumed_together(
    api: httpx.Client, acme: dict[str, object]
) -> None:
    api.post("/accounts", json=acme)
    rows = [activation(acme, "R1"), activation(acme, "R2")]
    ids = api.post("/subscriptions/activate", json={"subscriptions": rows}).json()["ids"]
    body = {"of_account": acme["external_id"], "kind": "suspend", "day": "2026-02-01"}
    made = api.post("/subscriptions/amend", json={"changes": [body]})
    assert made.status_code == 201, made.text
    assert len(made.json()["amendments"]) == 2
    told = api.get(f"/subscriptions/{ids[0]}/in-force", params={"day": "2026-02-10"}).json()
    assert (told["state"], told["charges"]) == ("suspended", [])
    assert [one["kind"] for one in told["amendments"]] == ["suspend"]
    resumed = api.post(f"/subscriptions/{ids[0]}/resume", json={"day": "2026-03-01"})
    assert resumed.status_code == 201, resumed.text
    told = api.get(f"/subscriptions/{ids[0]}/in-force", params={"day": "2026-03-01"}).json()
    assert (told["state"], [one["charge"] for one in told["charges"]]) == ("active", ["room"])


def test_a_change_of_one_of_many_that_is_not_possible_changes_none(
    api: httpx.Client, acme: dict[str, object]
) -> None:
    api.post("/accounts", json=acme)
    rows = [activation(acme, "N1"), activation(acme, "N2")]
    ids = api.post("/subscriptions/activate", json={"subscriptions": rows}).json()["ids"]
    changes = [
        {"subscription": rows[0]["external_id"], "kind": "suspend", "day": "2026-02-01"},
        {"subscription": rows[1]["external_id"], "kind": "resume", "day": "2026-02-01"},
    ]
    refused = api.post("/subscriptions/amend", json={"changes": changes})
    assert refused.status_code == 422
    assert [(e["code"], e["line"]) for e in refused.json()["errors"]] == [("not_suspended", 2)]
    listed = api.get("/amendments", params={"subscription_id": ids[0]}).json()["records"]
    assert listed == []
    account = api.get("/accounts", params={"external_id": acme["external_id"]}).json()["records"]
    profile = {"account_id": account[0]["id"], "currency": "USD"}
    assert api.post("/billing_profiles", json=profile).status_code == 201
    price = {"model": "graduated", "tiers": [{"up_to": 3, "amount": 9.95}, {"amount": 5}]}
    own = {"kind": "change_price", "charge": "room", "day": "2026-02-01", "price": price}
    assert api.post(f"/subscriptions/{ids[0]}/amend", json=own).status_code == 201
    kept = api.get("/prices", params={"layer": "subscription"}).json()["records"]
    assert [(one["model"], one["valid_from"]) for one in kept] == [("graduated", "2026-02-01")]
    wrong = api.post(f"/subscriptions/{ids[1]}/amend", json={**own, "price": {"model": "flat"}})
    assert [one["field"] for one in wrong.json()["errors"]] == ["price"]
    unknown = api.post(f"/subscriptions/{ids[0]}/suspend", json={"proration": "by_hour"})
    assert unknown.status_code == 422
