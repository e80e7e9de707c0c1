"""The first hour with a data model of one's own, over every interface, one step after another.

A custom field and a custom entity are made and used at once: in REST, SOAP, the BillingPlatform
client, a price condition, on an invoice; carried into a second organisation; and denied to a role.
"""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import zeep
from billingplatform import BillingPlatform
from billingplatform.exceptions import BillingPlatform400Exception
from tests.interfaces.brm.conftest import sign_in_as
from tests.interfaces.conftest import PASSWORD_OF_OTHERS, Place
from tests.interfaces.soap.conftest import connect

from counterfoil.bootstrap import Settings, scratch_organisation
from counterfoil.business.documents.presentment import presentment
from counterfoil.business.documents.queries import read_documents
from counterfoil.platform.model.applying import apply_change_set

CHANGE_SET = {
    "change_set": "Regions and surveys",
    "entities": {"x_site_survey": {"plural": "x_site_surveys"}},
    "fields": {
        "account": {
            "x_region": {
                "kind": "choice",
                "choices": ["emea", "apac"],
                "label": "Region",
                "on_invoice": True,
            }
        },
        "x_site_survey": {
            "x_account": {"kind": "master_detail", "target": "account"},
            "x_score": {"kind": "number"},
        },
    },
}
BOOK = """
products: [{id: rooms, name: Rooms}]
rate_plans:
  - id: room
    product: rooms
    name: Room
    charges:
      - {id: rent, name: Rent, kind: recurring, timing: in_advance, unit: room,
         prices: [{currency: EUR, model: per_unit, amount: 100.00}]}
      - {id: surcharge, name: Surcharge, kind: recurring, timing: in_advance, unit: room,
         condition: account.x_region = 'apac',
         prices: [{currency: EUR, model: per_unit, amount: 7.00}]}
"""


@pytest.fixture
def rest(place: Place) -> Iterator[httpx.Client]:
    with place.client(authorization=f"Bearer {place.token}") as client:
        client.base_url = httpx.URL(f"{place.url}/api/v1")
        yield client


def sent(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json() if "json" in answer.headers["content-type"] else answer.text


def test_the_first_hour(place: Place, rest: httpx.Client, server: Settings) -> None:
    make_model(rest)
    ids = make_accounts(rest)
    find_them(place, rest, ids)
    bill_them(place, rest, ids)
    carry_over(place, rest, server)
    deny(place, rest)


def make_model(rest: httpx.Client) -> None:
    planned = sent(rest.post("/model/plan", json=CHANGE_SET))
    assert any("x_region" in step for step in planned["sql"])
    assert sent(rest.get("/accounts", params={"limit": 1}))["records"] == []
    assert len(sent(rest.post("/model/apply", json=CHANGE_SET))["steps"]) == 4


def make_accounts(rest: httpx.Client) -> dict[str, int]:
    made = {}
    for name, region in (("PARIS", "emea"), ("TOKYO", "apac"), ("SYDNEY", "apac")):
        body = {"external_id": name, "name": name.title(), "x_region": region}
        made[name] = sent(rest.post("/accounts", json=body))["id"]
    for name, score in (("PARIS", 80), ("TOKYO", 95)):
        survey = {"external_id": f"S-{name}", "name": f"Survey of {name}", "x_score": score}
        survey["x_account"] = made[name]
        sent(rest.post("/x-site-surveys", json=survey))
    return made


def find_them(place: Place, rest: httpx.Client, ids: dict[str, int]) -> None:
    asked = {"x_region": "apac", "sort": "-x_region,external_id"}
    found = sent(rest.get("/accounts", params=asked))["records"]
    assert [one["external_id"] for one in found] == ["SYDNEY", "TOKYO"]
    described = sent(rest.get("/openapi.json"))
    assert "/api/v1/x-site-surveys" in described["paths"]

    typed = connect(place, "typed").service
    (tokyo,) = typed.retrieve(entity="account", id=ids["TOKYO"])
    assert tokyo.x_region == "apac"
    generic: zeep.Client = connect(place, "generic")
    answer = generic.service.query(
        entity="x_site_survey", filter=[{"field": "x_score", "operator": "gt", "value": "90"}]
    )
    assert [field.value for field in answer.record[0].field if field.name == "name"] == [
        "Survey of TOKYO"
    ]

    client = BillingPlatform(place.url, "admin", place.password, logout_at_exit=False)
    rows = client.query("SELECT Name, X_SCORE FROM X_SITE_SURVEY ORDER BY X_SCORE DESC")
    assert [row["Name"] for row in rows["queryResponse"]] == ["Survey of TOKYO", "Survey of PARIS"]
    retrieved = client.retrieve_by_id("ACCOUNT", str(ids["TOKYO"]))["retrieveResponse"]
    assert retrieved[0]["x_region"] == "apac"


def bill_them(place: Place, rest: httpx.Client, ids: dict[str, int]) -> None:
    sent(rest.post("/price-books", content=BOOK, headers={"content-type": "application/yaml"}))
    sent(rest.post("/sellers", json={"name": "Bridge GmbH", "country": "DE"}))
    for name in ("PARIS", "TOKYO"):
        profile = {"account_id": ids[name], "currency": "EUR", "time_zone": "Europe/Berlin"}
        sent(rest.post("/billing-profiles", json=profile))
        subscription = {
            "external_id": f"R-{name}",
            "account": name,
            "rate_plan": "room",
            "start_date": "2026-01-01",
        }
        sent(rest.post("/subscriptions/activate", json=subscription))
    sent(rest.post("/bill-runs", json={"billing_date": "2026-01-01"}))
    invoices = sent(rest.get("/invoices", params={"sort": "account_id"}))["records"]
    assert [(one["account_id"], one["total"]) for one in invoices] == [
        (ids["PARIS"], "100"),
        (ids["TOKYO"], "107"),
    ]
    database = place.organisation.database
    with database.transaction(now=place.organisation.clock()) as uow:
        documents = read_documents(uow, [invoices[1]["id"]])
    shown = presentment(*documents[0])
    assert "Region" in str(shown) and "apac" in str(shown)


def carry_over(place: Place, rest: httpx.Client, server: Settings) -> None:
    """The exported change set makes the same fields in an organisation that has none."""
    text = rest.get("/model/export").text
    with scratch_organisation(server) as second:
        apply_change_set(second.database, text, now=second.clock(), source="import")
        with second.database.transaction(now=second.clock()) as uow:
            account = uow.create("account", {"external_id": "A", "name": "A", "x_region": "emea"})
            survey = {"external_id": "S", "name": "S", "x_account": account["id"], "x_score": 1}
            assert uow.create("x_site_survey", survey)["x_score"] == 1


CLAUSES: tuple[Callable[[httpx.Client, str], httpx.Response], ...] = (
    lambda client, field: client.get("/accounts", params={field: "apac"}),
    lambda client, field: client.get("/accounts", params={f"{field}__in": "apac"}),
    lambda client, field: client.get("/accounts", params={"sort": field}),
    lambda client, field: client.get("/accounts", params={"fields": field}),
    lambda client, field: client.post(
        "/accounts/query", json={"where": {"field": field, "value": "apac"}}
    ),
    lambda client, field: client.post(
        "/accounts/query", json={"group_by": [field], "aggregates": [{"function": "count"}]}
    ),
    lambda client, field: client.get("/accounts/export", params={"fields": field}),
    lambda client, field: client.get("/billing-profiles", params={f"account.{field}": "apac"}),
)


def deny(place: Place, rest: httpx.Client) -> None:
    """A role that may read accounts, but not their region: in every clause the region reads as a
    field that does not exist, and nothing changes."""
    grants = {"account": ["read", "update"], "billing_profile": ["read"]}
    theirs = sign_in_as(place, "clerk", grants, unreadable={"account": ["x_region"]})
    granted = place.count("record_change")
    with place.client() as client:
        client.auth = ("clerk", PASSWORD_OF_OTHERS)
        client.base_url = httpx.URL(f"{place.url}/api/v1")
        for clause in CLAUSES:
            sent(clause(rest, "x_region"))
            denied, unknown = clause(client, "x_region"), clause(client, "x_nothing")
            assert denied.status_code == unknown.status_code >= 400, denied.text
            assert denied.text.replace("x_region", "x_nothing") == unknown.text
        own = sent(client.get("/accounts"))["records"][0]
        assert "x_region" not in own
        refused = client.patch(f"/accounts/{own['id']}", json={"x_region": "emea"})
        assert [one["code"] for one in refused.json()["errors"]] == ["unknown_field"]
        assert "x_region" in rest.get(f"/accounts/{own['id']}/history").text
        assert "x_region" not in client.get(f"/accounts/{own['id']}/history").text
        assert "x_region" not in client.get("/openapi.json").text
        assert client.get("/x-site-surveys").status_code == 404
    for clause_of in ("SELECT {} FROM ACCOUNT", "SELECT Id FROM ACCOUNT WHERE {} = 'apac'"):
        with pytest.raises(BillingPlatform400Exception):
            theirs.query(clause_of.format("x_region"))
    assert place.count("record_change") == granted
