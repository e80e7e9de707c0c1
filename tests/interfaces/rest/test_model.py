"""Custom fields and entities over HTTP: there with the next request, in every place at once."""

import json

import httpx
import pytest
from tests.interfaces.rest.conftest import Served
from tests.interfaces.rest.test_history import signed_in

YAML = {"content-type": "application/yaml"}
MODEL = """
change_set: Surveys
entities:
  x_site_survey: {plural: x_site_surveys, label: Site survey}
fields:
  account:
    x_region: {kind: choice, choices: [emea, apac], help: Where they are.}
    x_tags: {kind: multi_choice, choices: [vip, late]}
    x_deposit: {kind: money}
    x_large: {kind: formula, returns: boolean, formula: x_deposit >= 1000}
  subscription:
    x_project: {kind: text}
  x_site_survey:
    x_account: {kind: master_detail, target: account}
    x_score: {kind: decimal, digits: 6, places: 2, minimum: 0}
    x_report: {kind: file}
rules:
  high-score: {entity: x_site_survey, if: x_score > 90, then: approve, field: x_score}
  score-needed: {entity: x_site_survey, if: name is null, then: require, field: x_score}
"""


@pytest.fixture(scope="module")
def surveyed(served: Served) -> Served:
    """The server, with surveys in its model."""
    with served.client() as api:
        applied = api.post("/model/apply", content=MODEL, headers=YAML)
        assert applied.status_code == 200, applied.text
        assert applied.json()["version"] == 1
    return served


def open_account(api: httpx.Client, name: str, **values: object) -> int:
    made = api.post("/accounts", json={"external_id": name, "name": name, **values})
    assert made.status_code == 201, made.text
    return int(made.json()["id"])


def test_a_custom_entity_is_a_collection_like_any_other(
    surveyed: Served, api: httpx.Client
) -> None:
    account = open_account(api, "SURVEYED")
    made = api.post("/x-site-surveys", json={"x_account": account, "x_score": "7.5"})
    assert made.status_code == 201, made.text
    assert made.headers["location"] == f"/api/v1/x-site-surveys/{made.json()['id']}"
    rows = [{"x_account": account, "x_score": str(score)} for score in range(3)]
    assert api.post("/x-site-surveys", json={"records": rows}).json()["created"] == 3
    listed = api.get(
        f"/x-site-surveys?x_account={account}&x_score__gte=1&sort=-x_score&limit=2"
    ).json()
    assert [row["x_score"] for row in listed["records"]] == ["7.5", "2"]
    path = f"/x-site-surveys/{made.json()['id']}"
    changed = api.patch(path, json={"x_score": 8}, headers={"If-Match": '"1"'})
    assert (changed.json()["x_score"], changed.headers["etag"]) == ("8", '"2"')
    assert api.patch(path, json={"x_score": 9}, headers={"If-Match": '"1"'}).status_code == 412
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404


def test_custom_fields_filter_sort_and_are_checked(surveyed: Served, api: httpx.Client) -> None:
    deposit = {"x_deposit": "1000.00", "x_deposit_currency": "EUR"}
    open_account(api, "F1", x_region="emea", x_tags=["late", "vip"], **deposit)
    open_account(api, "F2", x_region="apac", x_tags=["late"])
    names = {
        "x_region=emea": ["F1"],
        "x_tags__contains=vip,late": ["F1"],
        "x_tags__in=vip,late&sort=-external_id": ["F2", "F1"],
        "x_tags=late": ["F2"],
        "x_large=true": ["F1"],
        "x_deposit__gt=999.99": ["F1"],
    }
    for query, expected in names.items():
        answer = api.get(f"/accounts?{query}")
        assert answer.status_code == 200, answer.text
        assert [row["external_id"] for row in answer.json()["records"]] == expected, query
    for body, field in (
        ({"x_region": "mars"}, "x_region"),
        ({"x_tags": "vip"}, "x_tags"),
        ({"x_deposit": "1"}, "x_deposit"),
        ({"x_large": True}, "x_large"),
    ):
        refused = api.post("/accounts", json={"external_id": "F3", "name": "F3", **body})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    assert api.get("/accounts?x_large__contains=t").status_code == 422


def test_of_what_commands_make_custom_fields_can_be_changed_and_nothing_else(
    surveyed: Served, api: httpx.Client
) -> None:
    book = {"products": [{"id": "p", "name": "P"}], "rate_plans": [
        {"id": "r", "product": "p", "name": "R", "charges": [
            {"id": "c", "name": "C", "kind": "recurring", "timing": "in_advance", "unit": "room",
             "prices": [{"currency": "EUR", "model": "per_unit", "amount": "1"}]}]}]}  # fmt: skip
    assert api.post("/price-books", json=book).status_code == 200
    open_account(api, "SUB")
    row = {"external_id": "S", "account": "SUB", "rate_plan": "r", "start_date": "2026-01-01"}
    made = api.post("/subscriptions/activate", json=row)
    assert made.status_code == 201, made.text
    path = f"/subscriptions/{made.json()['ids'][0]}"
    changed = api.patch(path, json={"x_project": "Apollo"})
    assert (changed.status_code, changed.json()["x_project"]) == (200, "Apollo")
    refused = api.patch(path, json={"x_project": "Gemini", "start_date": "2020-01-01"})
    assert refused.status_code == 405
    assert api.get(path).json()["x_project"] == "Apollo"


def test_the_description_of_the_api_knows_them(surveyed: Served, api: httpx.Client) -> None:
    before = api.get("/openapi.json")
    schemas = before.json()["components"]["schemas"]
    assert schemas["Account"]["properties"]["x_region"]["enum"] == ["emea", "apac", None]
    assert schemas["Account"]["properties"]["x_tags"]["items"]["enum"] == ["vip", "late"]
    assert "x_large" not in schemas["AccountCreate"]["properties"]
    assert set(schemas["SubscriptionUpdate"]["properties"]) == {"x_project", "row_version"}
    assert "/api/v1/x-site-surveys/{id}" in before.json()["paths"]
    tag = {"If-None-Match": before.headers["etag"]}
    assert api.get("/openapi.json", headers=tag).status_code == 304
    added = "change_set: More\nfields: {contact: {x_badge: {kind: number}}}\n"
    assert api.post("/model/apply", content=added, headers=YAML).status_code == 200
    after = api.get("/openapi.json", headers=tag)
    assert after.status_code == 200
    assert "x_badge" in after.json()["components"]["schemas"]["Contact"]["properties"]


def test_a_draft_is_planned_applied_and_retired(surveyed: Served, api: httpx.Client) -> None:
    content = {"change_set": "Notes", "fields": {"site": {"x_note": {"kind": "text"}}}}
    draft = api.post("/model/change-sets", json=content)
    assert (draft.status_code, draft.json()["status"]) == (201, "draft")
    path = f"/model/change-sets/{draft.json()['id']}"
    plan = api.get(f"{path}/plan").json()
    assert plan == {
        "name": "Notes",
        "steps": ["add site.x_note: text"],
        "sql": ['ALTER TABLE "site" ADD COLUMN "x_note" TEXT'],
    }
    assert api.get("/sites?x_note=a").status_code == 422
    first = api.post(f"{path}/apply")
    assert first.status_code == 200, first.text
    assert api.post(f"{path}/apply").json() == first.json()
    assert api.get("/sites?x_note=a").status_code == 200
    retired = api.post("/model/retire", json={"entity": "site", "field": "x_note"})
    assert retired.json()["steps"] == ["retire site.x_note: hide it, keep its values"]
    assert api.get("/sites?x_note=a").status_code == 422
    assert "x_note" not in api.get("/model/export").text
    assert api.post("/model/retire", json={"entity": "site", "field": "name"}).status_code == 404


def test_what_is_wrong_is_told_with_its_line_and_changes_nothing(
    surveyed: Served, api: httpx.Client
) -> None:
    version = api.post("/model/plan", content=MODEL, headers=YAML).json()
    assert (version["steps"], version["sql"]) == ([], [])
    wrong = "change_set: Bad\nfields:\n  site:\n    x_a: {kind: text}\n    note: {kind: text}\n"
    refused = api.post("/model/apply", content=wrong, headers=YAML)
    assert refused.status_code == 422
    assert [(one["code"], one["field"]) for one in refused.json()["errors"]] == [
        ("bad_name", "site.note")
    ]
    assert api.get("/sites?x_a=1").status_code == 422


def test_the_same_request_again_is_answered_as_before(
    surveyed: Served, api: httpx.Client, key: dict[str, str]
) -> None:
    content = "change_set: Once\nfields: {seller: {x_once: {kind: text}}}\n"
    answers = [api.post("/model/apply", content=content, headers={**YAML, **key}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotency-replayed"] == "true"


def test_a_rule_refuses_in_its_words(surveyed: Served, api: httpx.Client) -> None:
    account = open_account(api, "RULED")
    refused = api.post("/x-site-surveys", json={"x_account": account})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "x_score")
    rules = api.get("/rules").json()["records"]
    assert [rule["name"] for rule in rules] == ["high-score", "score-needed"]


def test_a_file_is_kept_once_and_pointed_to(surveyed: Served, api: httpx.Client) -> None:
    stored = [api.post("/files?name=r.pdf", content=b"%PDF-1.7").json() for _ in range(2)]
    assert stored[0]["sha256"] == stored[1]["sha256"]
    assert (stored[0]["name"], stored[0]["size"]) == ("r.pdf", 8)
    kept = list((surveyed.organisation.home / "files").glob("??/*"))
    assert [path.name for path in kept] == [stored[0]["sha256"]]
    content = api.get(f"/stored-files/{stored[0]['id']}/content")
    assert content.content == b"%PDF-1.7"
    assert content.headers["content-disposition"] == 'attachment; filename="r.pdf"'
    account = open_account(api, "FILED")
    survey = {"x_account": account, "x_score": 1, "x_report": stored[1]["id"]}
    assert api.post("/x-site-surveys", json=survey).json()["x_report"] == stored[1]["id"]
    assert api.post("/x-site-surveys", json={**survey, "x_report": 999}).status_code == 422


def test_only_administrators_change_the_model(surveyed: Served, api: httpx.Client) -> None:
    grant = {"entity": "x_site_survey", "may_read": True}
    with signed_in(surveyed, api, grant) as surveyor:
        content = "change_set: Mine\nfields: {site: {x_mine: {kind: text}}}\n"
        for path in ("/model/apply", "/model/plan", "/model/change-sets"):
            assert surveyor.post(path, content=content, headers=YAML).status_code == 403
        assert surveyor.get("/model/export").status_code == 403
        assert surveyor.get("/x-site-surveys").status_code == 200
        assert surveyor.get("/accounts?x_region=emea").status_code == 404
    assert api.get("/sites?x_mine=1").status_code == 422
    assert "x_mine" not in json.dumps(api.get("/change-sets").json())


def test_a_value_waits_until_somebody_else_approves_it(surveyed: Served, api: httpx.Client) -> None:
    account = open_account(api, "APPROVED")
    made = api.post("/x-site-surveys", json={"x_account": account, "x_score": 5}).json()
    path = f"/x-site-surveys/{made['id']}"
    grant = {"entity": "x_site_survey", "may_read": True, "may_update": True}
    with signed_in(surveyed, api, grant) as surveyor:
        assert surveyor.patch(path, json={"x_score": 95}).json()["x_score"] == "5"
        (waiting,) = api.get("/approvals?state=pending").json()["records"]
        assert (waiting["requested"], waiting["record_id"]) == ({"value": "95"}, made["id"])
        assert surveyor.post(f"/approvals/{waiting['id']}/approve").status_code == 403
    decision = {"comment": "measured again"}
    approved = api.post(f"/approvals/{waiting['id']}/approve", json=decision)
    assert approved.status_code == 200, approved.text
    assert (approved.json()["state"], approved.json()["comment"]) == ("approved", "measured again")
    assert api.get(path).json()["x_score"] == "95"
    assert api.post(f"/approvals/{waiting['id']}/reject").status_code == 409


def test_a_grant_of_everything_does_not_mean_what_tells_of_all_fields(
    surveyed: Served, api: httpx.Client
) -> None:
    with signed_in(surveyed, api, {"entity": "*", "may_read": True}) as reader:
        assert reader.get("/accounts").status_code == 200
        for collection in ("custom-fields", "rules", "rule-firings", "approvals", "change-sets"):
            assert reader.get(f"/{collection}").status_code == 404, collection
