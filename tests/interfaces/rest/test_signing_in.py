"""Over HTTP: signing in and out, keys, and what a role may see and run."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from counterfoil.bootstrap import COMMANDS
from counterfoil.interfaces.rest.app import ENDPOINTS

PASSWORD = "a horse in the rain"
NUMBERS = itertools.count(1)


@pytest.fixture
def clerk(served, api: httpx.Client) -> Iterator[httpx.Client]:  # type: ignore[no-untyped-def]
    """A client of a user who reads accounts without their status, and prepares invoices."""
    name = f"clerk-{next(NUMBERS)}"
    user = created(api, "/access-users", {"external_id": name})
    role = created(api, "/access-roles", {"external_id": name, "commands": ["finalize_invoices"]})
    grant = {"access_role_id": role["id"], "entity": "account", "may_create": True}
    created(api, "/access-grants", grant)
    rule = {"access_role_id": role["id"], "entity": "account", "field": "status", "denies": "read"}
    created(api, "/field-rules", rule)
    created(api, "/user-roles", {"access_user_id": user["id"], "access_role_id": role["id"]})
    given = api.post(f"/access-users/{user['id']}/password", json={"password": PASSWORD})
    assert given.json() == {"changed": True}
    with served.client(None) as stranger:
        signed_in = stranger.post("/sessions", json={"username": name, "password": PASSWORD})
    assert signed_in.status_code == 201
    with served.client(signed_in.json()["token"]) as client:
        client.headers["X-Test-User"] = name
        yield client


def created(api: httpx.Client, path: str, values: dict[str, object]) -> dict[str, object]:
    response = api.post(path, json=values)
    assert response.status_code == 201, response.text
    return dict(response.json())


def test_a_user_sees_what_the_roles_grant(clerk: httpx.Client, acme: dict[str, object]) -> None:
    me = clerk.get("/me").json()
    assert me["user"] == clerk.headers["X-Test-User"]
    assert me["administrator"] is False
    assert me["commands"] == ["finalize_invoices"]
    assert me["entities"] == {"account": ["read", "create"]}
    record = created(clerk, "/accounts", acme)
    assert "status" not in record
    assert clerk.get("/accounts", params={"status": "active"}).json()["errors"][0]["code"] == (
        "unknown_field"
    )
    assert clerk.patch(f"/accounts/{record['id']}", json={"name": "x"}).status_code == 403
    assert clerk.get("/invoices").status_code == 404
    assert clerk.get("/access-users").status_code == 404


def test_a_command_has_to_be_granted(served, clerk: httpx.Client) -> None:  # type: ignore[no-untyped-def]
    assert clerk.post("/invoices/finalize", json={}).status_code not in (401, 403)
    before = served.count("bill_run")
    refused = clerk.post("/bill-runs", json={"as_of": "2026-01-31"})
    assert refused.status_code == 403
    assert refused.json()["errors"][0]["message"] == "your roles do not let you run run_bills"
    assert served.count("bill_run") == before
    users = clerk.get("/access-explanations?user=admin&entity=account")
    assert users.status_code == 403


def test_the_user_stands_in_the_history(served, clerk, acme) -> None:  # type: ignore[no-untyped-def]
    record = clerk.post("/accounts", json=acme, headers={"X-Request-Id": "my-request-7"})
    assert record.headers["x-request-id"] == "my-request-7"
    database = served.organisation.database
    with database.transaction(now=served.organisation.clock()) as uow:
        (change,) = uow.query(
            "SELECT actor, source FROM record_change WHERE entity = 'account' AND record_id = :id",
            id=record.json()["id"],
        )
    assert change == {"actor": clerk.headers["X-Test-User"], "source": "rest"}


def test_signing_out_ends_the_session(clerk: httpx.Client) -> None:
    assert clerk.post("/sessions/end").json() == {"ended": True}
    assert clerk.get("/me").status_code == 401


def test_a_key_is_shown_once_and_can_be_revoked(served, clerk: httpx.Client) -> None:  # type: ignore[no-untyped-def]
    made = created(clerk, "/api-keys", {"name": "CRM", "scopes": ["account:read"]})
    with served.client(str(made["key"])) as program:
        assert program.get("/accounts").status_code == 200
        assert program.post("/accounts", json={"external_id": "x"}).status_code == 403
        assert program.post("/invoices/finalize", json={}).status_code == 403
        assert program.post("/api-keys", json={"name": "more"}).status_code == 403
        listed = clerk.get("/me/api-keys")
        assert str(made["key"]) not in listed.text
        assert [one["name"] for one in listed.json()["api_keys"]] == ["CRM"]
        assert clerk.post(f"/api-keys/{made['id']}/revoke").status_code == 200
        assert program.get("/accounts").status_code == 401


def test_a_key_may_not_do_more_than_its_user(clerk: httpx.Client) -> None:
    for scopes in (["account:update"], ["access_user:read"], "account:read"):
        assert clerk.post("/api-keys", json={"name": "x", "scopes": scopes}).status_code == 422
    refused = clerk.post("/api-keys", json={"name": "x", "user": "admin"})
    assert refused.status_code == 403


def test_nobody_revokes_the_key_of_another(api: httpx.Client, clerk: httpx.Client) -> None:
    user = created(api, "/access-users", {"external_id": f"other-{next(NUMBERS)}"})
    key = created(api, "/api-keys", {"name": "CRM", "user": user["external_id"]})
    refused, unknown = (clerk.post(f"/api-keys/{one}/revoke") for one in (key["id"], 99999))
    assert refused.status_code == unknown.status_code == 404
    assert refused.json()["detail"].replace(str(key["id"]), "99999") == unknown.json()["detail"]
    assert api.get(f"/api-keys/{key['id']}").json()["revoked_at"] is None


def test_what_holds_a_secret_is_not_remembered(served, key: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    with served.client(None) as stranger:
        body = {"username": "x", "password": "y"}
        refused = stranger.post("/sessions", json=body, headers=key)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "not_repeatable")


def test_nobody_is_answered_what_was_answered_to_another(  # type: ignore[no-untyped-def]
    api: httpx.Client, clerk: httpx.Client, acme, key: dict[str, str]
) -> None:
    assert "status" in api.post("/accounts", json=acme, headers=key).json()
    again = clerk.post("/accounts", json=acme, headers=key)
    assert again.status_code == 409
    assert "idempotency-replayed" not in again.headers


def test_an_explanation_names_role_grant_and_rule(api: httpx.Client, clerk: httpx.Client) -> None:
    name = clerk.headers["X-Test-User"]
    asked = {"user": name, "entity": "account", "field": "status"}
    found = api.get("/access-explanations", params=asked).json()
    assert found["allowed"] is False
    says = "grants read on account, but a rule denies read status"
    assert found["roles"] == [{"role": name, "allows": False, "says": says}]


def test_passwords_are_changed_by_who_knows_the_old_one(clerk: httpx.Client) -> None:
    new = {"password": "a wrong password", "new_password": "a cow in the sunshine"}
    assert clerk.post("/me/password", json=new).status_code == 401
    assert clerk.post("/me/password", json={**new, "password": PASSWORD}).status_code == 200
    assert clerk.get("/me").status_code == 401, "all sessions have ended"


def test_every_command_can_be_granted_by_its_name(api: httpx.Client) -> None:
    named = {one.command for one in ENDPOINTS if one.command}
    assert named == set(COMMANDS)
    refused = api.post("/access-roles", json={"external_id": "x", "commands": ["run_bill"]})
    assert refused.status_code == 422
    error = refused.json()["errors"][0]
    assert (error["code"], error["allowed"]) == ("unknown_command", list(COMMANDS))


def test_the_guide_names_every_command() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "access.md").read_text(encoding="utf-8")
    assert [one for one in COMMANDS if f"`{one}`" not in guide] == []


def test_who_guesses_passwords_is_told_how_long_to_wait(served) -> None:  # type: ignore[no-untyped-def]
    guess = {"username": "guesser", "password": "a wrong password"}
    with served.client(None) as stranger:
        # Each further failure doubles the wait, so that a slow machine gets there, too.
        for _ in range(20):
            answer = stranger.post("/sessions", json=guess)
            if answer.status_code == 429:
                break
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
