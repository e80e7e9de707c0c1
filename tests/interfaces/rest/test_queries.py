"""Queries over HTTP: paths, related records, aggregates, and what there is to ask for."""

import httpx
import pytest


@pytest.fixture
def company(api: httpx.Client) -> str:
    """A head office with an account below it that has two sites."""
    if not api.get("/accounts", params={"external_id": "Q-HEAD"}).json()["records"]:
        head = api.post("/accounts", json={"external_id": "Q-HEAD", "name": "Head"}).json()["id"]
        east = {"external_id": "Q-EAST", "name": "East", "parent_id": head}
        account = api.post("/accounts", json=east).json()["id"]
        for name, country in (("Q-1", "DE"), ("Q-2", "FR")):
            site = {"external_id": name, "name": name, "account_id": account, "country": country}
            assert api.post("/sites", json=site).status_code == 201
    return "Q-EAST"


def test_a_query_reads_what_records_refer_to(api: httpx.Client, company: str):
    body = {
        "fields": ["external_id", "account.parent.name"],
        "include": ["account"],
        "where": {
            "and": [
                {"field": "account.external_id", "value": company},
                {"or": [{"field": "country", "op": "in", "value": ["DE", "FR"]}]},
                {"not": {"field": "country", "value": "US"}},
            ]
        },
        "sort": ["-external_id"],
        "limit": 1,
    }
    first = api.post("/sites/query", json=body).json()
    (record,) = first["records"]
    assert record.pop("account")["external_id"] == company
    assert record == {"external_id": "Q-2", "account.parent.name": "Head"}
    second = api.post("/sites/query", json={**body, "cursor": first["next_cursor"]}).json()
    assert [one["external_id"] for one in second["records"]] == ["Q-1"]
    assert second["next_cursor"] is None


def test_a_list_takes_paths_fields_and_includes_as_well(api: httpx.Client, company: str):
    asked = {
        "account.parent.name": "Head",
        "country__in": "DE,FR",
        "fields": "external_id,account.name",
        "include": "account.sites",
        "sort": "-account.name,external_id",
        "limit": "1",
    }
    answer = api.get("/sites", params=asked)
    (record,) = answer.json()["records"]
    assert (record["external_id"], record["account.name"]) == ("Q-1", "East")
    assert [one["external_id"] for one in record["account"]["sites"]] == ["Q-1", "Q-2"]
    following = api.get(answer.links["next"]["url"].removeprefix("/api/v1"))
    assert [one["external_id"] for one in following.json()["records"]] == ["Q-2"]


def test_aggregates_are_told_exactly(api: httpx.Client, company: str):
    for name, amount in (("Q-M1", "0.10"), ("Q-M2", "0.20")):
        commitment = {
            "external_id": name,
            "name": name,
            "kind": "minimum",
            "amount": amount,
            "currency": "EUR",
            "scope": "account",
            "account_id": api.get("/accounts", params={"external_id": company}).json()["records"][
                0
            ]["id"],
            "start_date": "2026-01-01",
        }
        assert api.post("/commitments", json=commitment).status_code == 201
    body = {
        "group_by": ["account.external_id"],
        "aggregates": [
            {"function": "count"},
            {"function": "sum", "field": "amount", "as": "total"},
            {"function": "avg", "field": "amount"},
        ],
    }
    assert api.post("/commitments/query", json=body).json() == {
        "groups": [
            {"account.external_id": company, "count": 2, "total": "0.3", "avg_amount": "0.15"}
        ]
    }


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"fields": ["nothing"]}, "nothing"),
        ({"fields": [1]}, "fields"),
        ({"where": {"field": "name", "op": "like", "value": "x"}}, "name"),
        ({"where": {"and": {}}}, "where.and"),
        ({"where": {"or": [None]}}, "where"),
        ({"where": "name"}, "where"),
        ({"where": {"field": "created_at", "op": "gt", "value": "soon"}}, "created_at"),
        ({"include": ["nothing"]}, "include"),
        ({"sort": ["nothing"]}, "nothing"),
        ({"limit": 0}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"extra": 1}, "extra"),
        ({"aggregates": []}, "aggregates"),
        ({"aggregates": [{"function": "median", "field": "id"}]}, "aggregates[0].function"),
        ({"aggregates": [{"function": "sum", "field": "name"}]}, "name"),
        ({"aggregates": [{"function": "count"}], "cursor": "x"}, "cursor"),
    ],
)
def test_a_query_that_means_nothing_is_refused(
    api: httpx.Client, body: dict[str, object], field: str
):
    refused = api.post("/sites/query", json=body)
    assert refused.status_code == 422, refused.text
    assert [one["field"] for one in refused.json()["errors"]] == [field]


def test_what_there_is_is_described(api: httpx.Client):
    entities = api.get("/describe").json()["entities"]
    known = {one["entity"]: one for one in entities}
    assert known["account"]["operations"] == ["read", "create", "update", "delete"]
    assert known["invoice"]["operations"] == ["read"]

    site = api.get("/describe/site").json()
    assert site == api.get("/describe/sites").json()
    fields = {one["name"]: one for one in site["fields"]}
    assert fields["account_id"] == {
        "name": "account_id",
        "type": "reference",
        "label": "account id",
        "required": True,
        "writable": True,
        "changeable": True,
        "target": "account",
    }
    assert fields["external_id"]["changeable"] is False
    assert {"name": "contacts", "entity": "contact", "field": "site_id", "many": True} in site[
        "related"
    ]
    webhook = {one["name"]: one for one in api.get("/describe/webhook").json()["fields"]}
    assert webhook["secret"]["secret"] is True
    assert api.get("/describe/nothing").status_code == 404
