"""DELETE of a record: gone, with a history; or refused, with who still refers to it."""

import httpx
from tests.interfaces.rest.conftest import Served


def test_a_record_is_deleted_once(api: httpx.Client, acme: dict[str, object], key: dict[str, str]):
    made = api.post("/accounts", json=acme).json()
    path = f"/accounts/{made['id']}"
    deleted = api.delete(path, headers=key)
    assert (deleted.status_code, deleted.content) == (204, b"")
    again = api.delete(path, headers=key)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (204, "true")

    assert api.get(path).status_code == 404
    assert api.delete(path).status_code == 404


def test_another_version_than_meant_is_not_deleted(api: httpx.Client, acme: dict[str, object]):
    made = api.post("/accounts", json=acme).json()
    path = f"/accounts/{made['id']}"
    api.patch(path, json={"name": "Other"})
    refused = api.delete(path, headers={"If-Match": '"1"'})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (412, "version_conflict")
    assert api.get(path).status_code == 200
    assert api.delete(path, headers={"If-Match": '"2"'}).status_code == 204


def test_what_is_referred_to_is_kept_and_who_refers_is_named(
    api: httpx.Client, acme: dict[str, object]
):
    account = api.post("/accounts", json=acme).json()["id"]
    site = {"external_id": f"HQ-{account}", "account_id": account, "name": "HQ", "country": "US"}
    site_id = api.post("/sites", json=site).json()["id"]

    refused = api.delete(f"/accounts/{account}")
    assert refused.status_code == 409
    assert refused.json()["errors"] == [
        {
            "code": "still_referenced",
            "field": "id",
            "message": f"account {acme['external_id']} is still referred to by 1 site"
            f" (HQ-{account}) in account_id",
        }
    ]
    assert api.get(f"/accounts/{account}").status_code == 200

    assert api.delete(f"/sites/{site_id}").status_code == 204
    assert api.delete(f"/accounts/{account}").status_code == 204


def test_what_commands_make_is_not_deleted(served: Served, api: httpx.Client):
    refused = api.delete("/invoices/1")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert served.count("invoice") == 0
