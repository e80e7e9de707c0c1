"""Orders over HTTP: who may, what is refused, what is repeated, and call backs by link alone."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
import pytest
from tests.business.billing.conftest import Company
from tests.interfaces.rest.conftest import NUMBERS, Served
from tests.interfaces.rest.test_history import created

from counterfoil.business.orders.calling import read_call

YAML = {"content-type": "application/yaml"}
FIELDS = """
change_set: Racks
fields:
  order: {x_project: {kind: text}}
  order_line: {x_rack: {kind: number}}
rules:
  no-rack-zero:
    {entity: order_line, if: x_rack = 0 and order.x_project is null, then: refuse, field: x_rack,
     message: racks begin with 1}
  path-of-orders:
    {entity: order, then: path, field: status, message: ask the board first,
     path: {submitted: [approved, cancelled], approved: [in_progress], in_progress: [completed]}}
"""


@pytest.fixture(scope="module")
def sold(served: Served) -> Served:
    """The server, with an account, rooms, and custom fields of orders."""
    company = Company(served.organisation)
    company.load_prices()
    company.open_account("ACME")
    with served.client() as api:
        assert api.post("/model/apply", content=FIELDS, headers=YAML).status_code == 200
    return served


def place(api: httpx.Client, **more: object) -> httpx.Response:
    order = {"external_id": f"A-{next(NUMBERS)}", "account": "ACME", "lines": [{}], **more}
    return api.post("/orders/place", json=order)


def placed(api: httpx.Client, **more: object) -> str:
    """The path of an order that was placed."""
    made = place(api, **{"lines": [{"rate_plan": "rooms"}], **more})
    assert made.status_code == 201, made.text
    return f"/orders/{made.json()['orders'][0]['id']}"


def test_an_order_with_data_of_its_own_becomes_a_subscription(
    sold: Served, api: httpx.Client
) -> None:
    lines = [{"rate_plan": "rooms", "x_rack": 7}, {"rate_plan": "rooms", "x_rack": 8}]
    path = placed(api, lines=lines, x_project="North", purchase_order="PO-1")
    assert api.get(path).json()["x_project"] == "North"
    assert api.post(f"{path}/approve", json={"comment": "fine"}).json()["status"] == "approved"
    released = api.post(f"{path}/release")
    assert released.json()["lines"] == {"activated": 2}
    shown = api.get(f"{path}/overview").json()
    assert [line["status"] for line in shown["lines"]] == ["activated", "activated"]
    assert shown["groups"]["country"][0]["by_status"] == {"activated": 2}
    listed = api.get(f"/order-lines?order_id={path.rpartition('/')[2]}&x_rack=8").json()
    assert [row["position"] for row in listed["records"]] == [2]
    changed = api.patch(f"/order-lines/{listed['records'][0]['id']}", json={"x_rack": 9})
    assert changed.json()["x_rack"] == 9


def test_many_orders_in_one_call_all_or_none(sold: Served, api: httpx.Client) -> None:
    before = sold.count('"order"')
    orders = [
        {"external_id": f"M-{n}", "account": "ACME", "lines": [{"rate_plan": plan}]}
        for n, plan in enumerate(("rooms", "palace"))
    ]
    refused = api.post("/orders/place", json={"orders": orders})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert (error["field"], error["line"]) == ("lines.rate_plan", 1)
    assert error["message"] == "order M-1, line 1: there is no rate plan 'palace'"
    assert sold.count('"order"') == before
    orders[1]["lines"] = [{"rate_plan": "rooms"}]
    made = api.post("/orders/place", json={"orders": orders})
    assert [one["created"] for one in made.json()["orders"]] == [True, True]
    again = api.post("/orders/place", json={"orders": orders})
    assert [one["created"] for one in again.json()["orders"]] == [False, False]


def seller_of(sold: Served, api: httpx.Client) -> httpx.Client:
    """A client of somebody who may place orders and see them, and nothing else."""
    name = f"seller-{next(NUMBERS)}"
    user = created(api, "/access-users", {"external_id": name})
    role = created(api, "/access-roles", {"external_id": name, "commands": ["place_orders"]})
    grant = {"access_role_id": role["id"], "entity": "order", "may_read": True}
    created(api, "/access-grants", grant)
    created(api, "/user-roles", {"access_user_id": user["id"], "access_role_id": role["id"]})
    key = created(api, "/api-keys", {"name": "test", "user": name})
    return sold.client(str(key["key"]))


@pytest.mark.parametrize(
    ("order", "status", "field", "code"),
    [
        ({"lines": "x"}, 422, "lines", "wrong_type"),
        ({"lines": [1]}, 422, "lines", "not_a_list"),
        ({"lines": []}, 422, "lines", "required"),
        ({"lines": [{"kind": "give"}]}, 422, "lines.kind", "unknown_choice"),
        ({"lines": [{"x_none": 1, "rate_plan": "rooms"}]}, 422, "lines.x_none", "unknown_field"),
        ({"lines": [{"x_rack": "a", "rate_plan": "rooms"}]}, 422, "lines.x_rack", "wrong_type"),
        ({"lines": [{"x_rack": 0, "rate_plan": "rooms"}]}, 422, "lines.x_rack", "refused_by_rule"),
        ({"lines": [{"rate_plan": "rooms"}], "x_no": 1}, 422, "x_no", "unknown_field"),
        ({"lines": [{"quantities": {"room": "x"}}]}, 422, "lines.quantities.room", "wrong_value"),
        ({"lines": [{"quantities": [1]}]}, 422, "lines.quantities", "wrong_type"),
        ({"lines": [{"identifiers": [1]}]}, 422, "lines.identifiers", "wrong_type"),
        ({"lines": [{"rate_plan": "rooms"}], "account": None}, 422, "account", "required"),
    ],
)
def test_bad_orders_are_refused_and_nothing_is_kept(
    sold: Served, api: httpx.Client, order: dict[str, object], status: int, field: str, code: str
) -> None:
    before = sold.count('"order"'), sold.count("order_line")
    answer = place(api, **order)
    assert answer.status_code == status, answer.text
    assert (field, code) in [(one["field"], one["code"]) for one in answer.json()["errors"]]
    assert (sold.count('"order"'), sold.count("order_line")) == before


def test_who_places_orders_may_not_approve_them(sold: Served, api: httpx.Client) -> None:
    seller = seller_of(sold, api)
    path = placed(seller)
    for word, body in (("approve", {}), ("release", {}), ("cancel", {"reason": "x"})):
        assert seller.post(f"{path}/{word}", json=body).status_code == 403
    assert seller.get(f"{path}/overview").status_code == 403
    assert seller.post("/provisioning-tasks/complete", json={"tasks": [1]}).status_code == 403
    assert api.get(path).json()["status"] == "submitted"
    assert api.post(f"{path}/cancel", json={"reason": "x", "lines": [2]}).status_code == 409
    assert api.post(f"{path}/cancel", json={"reason": "x"}).json()["status"] == "cancelled"
    assert api.post(f"{path}/approve").status_code == 409


def test_orders_are_changed_by_their_commands_only(sold: Served, api: httpx.Client) -> None:
    path = placed(api)
    assert api.post("/orders", json={"external_id": "X", "account_id": 1}).status_code == 405
    assert api.patch(path, json={"status": "completed"}).status_code == 405
    assert api.get(path).json()["status"] == "submitted"


def test_rules_of_the_customer_hold_for_orders(sold: Served, api: httpx.Client) -> None:
    path = placed(api)
    assert api.post(f"{path}/approve").json()["status"] == "approved"
    refused = api.post(f"{path}/cancel", json={"reason": "x"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["message"] == "ask the board first"
    assert api.get(path).json()["status"] == "approved"


def test_an_outside_system_calls_back_by_its_link_alone(sold: Served, api: httpx.Client) -> None:
    plan = api.get("/rate-plans?external_id=minutes").json()["records"][0]["id"]
    step = {
        "external_id": "port",
        "name": "Port",
        "position": 1,
        "kind": "webhook",
        "url": "https://provisioning.example",
        "rate_plan_id": plan,
        "calls_back": True,
    }
    secret = "whsec_bW9yZSB0aGFuIHR3ZW50eS1mb3VyIHJhbmRvbSBieXRlcw=="
    made = api.post("/provisioning-steps", json=step | {"secret": secret})
    assert made.status_code == 201, made.text
    assert "secret" not in made.json()
    local = api.post(
        "/provisioning-steps", json=step | {"url": "https://127.0.0.1", "secret": secret}
    )
    assert [one["code"] for one in local.json()["errors"]] == ["private_address"]
    path = placed(api, lines=[{"rate_plan": "minutes"}])
    api.post(f"{path}/approve")
    assert api.post(f"{path}/release").json()["lines"] == {"provisioning": 1}
    (task,) = api.get(f"{path}/overview").json()["tasks"]
    assert "call_back_key" not in api.get(f"/provisioning-tasks/{task['id']}").json()
    with sold.organisation.database.transaction(now=datetime.now(UTC)) as uow:
        call = read_call(uow, task["id"], sold.url)
    assert call is not None
    link = call.data["call_back"]["url"]
    assert urlsplit(link).path == "/api/v1/provisioning-callbacks"
    with sold.client(token=None) as stranger:
        for forged in (link[:-1], link.replace("token=", "token=9"), link.partition("?")[0]):
            assert stranger.post(forged, json={"result": "done"}).status_code == 403
        assert stranger.post(link, json={"result": "maybe"}).status_code == 422
        assert api.get(path).json()["status"] == "in_progress"
        taken = stranger.post(link, json={"result": "done", "message": "port 7"})
        assert (taken.status_code, taken.json()["state"]) == (200, "done")
        assert stranger.post(link, json={"result": "done"}).status_code == 409
    assert api.get(path).json()["status"] == "completed"
