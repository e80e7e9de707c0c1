"""The history over HTTP: complete, filtered, and never more than the caller may see."""

import itertools

import httpx
import pytest

PASSWORD = "a horse in the rain"
NUMBERS = itertools.count(1)


def created(api: httpx.Client, path: str, values: dict[str, object]) -> dict[str, object]:
    response = api.post(path, json=values)
    assert response.status_code == 201, response.text
    return dict(response.json())


def signed_in(  # type: ignore[no-untyped-def]
    served, api: httpx.Client, grant: dict[str, object], hidden: str | None = None
) -> httpx.Client:
    """A client of a new user with that grant, who may not read the hidden field."""
    name = f"reader-{next(NUMBERS)}"
    user = created(api, "/access-users", {"external_id": name})
    role = created(api, "/access-roles", {"external_id": name})
    created(api, "/access-grants", {"access_role_id": role["id"], **grant})
    if hidden is not None:
        rule = {"entity": grant["entity"], "field": hidden, "denies": "read"}
        created(api, "/field-rules", {"access_role_id": role["id"], **rule})
    created(api, "/user-roles", {"access_user_id": user["id"], "access_role_id": role["id"]})
    key = created(api, "/api-keys", {"name": "test", "user": name})
    return served.client(str(key["key"]))  # type: ignore[no-any-return]


@pytest.fixture
def account(api: httpx.Client, acme: dict[str, object]) -> dict[str, object]:
    """An account that was renamed and then closed for a while."""
    made = created(api, "/accounts", acme)
    path = f"/accounts/{made['id']}"
    for change in ({"name": "Acme Ltd"}, {"status": "closed"}):
        assert api.patch(path, json=change).status_code == 200, change
    return made


def test_every_change_stands_in_the_history(api: httpx.Client, account) -> None:  # type: ignore[no-untyped-def]
    renamed = api.patch(f"/accounts/{account['id']}", json={"name": "Acme SA"})
    answered = api.get(f"/accounts/{account['id']}/history").json()
    assert [(one["action"], one["row_version"]) for one in answered["changes"]] == [
        ("update", 4),
        ("update", 3),
        ("update", 2),
        ("create", 1),
    ]
    newest = answered["changes"][0]
    assert newest["changes"] == {"name": ["Acme Ltd", "Acme SA"]}
    assert (newest["actor"], newest["source"]) == ("admin", "rest")
    assert newest["request_id"] == renamed.headers["x-request-id"]
    assert "transaction_id" not in newest


def test_the_history_is_read_in_pages_and_filtered(api: httpx.Client, account) -> None:  # type: ignore[no-untyped-def]
    asked = {"entity": "account", "record_id": account["id"], "limit": 2}
    first = api.get("/history", params=asked).json()
    second = api.get("/history", params={**asked, "cursor": first["next_cursor"]}).json()
    assert [one["row_version"] for one in (*first["changes"], *second["changes"])] == [3, 2, 1]
    assert second["next_cursor"] is None
    for name, value, count in (
        ("action", "create", 1),
        ("actor", "nobody", 0),
        ("source", "rest", 3),
        ("until", "2020-01-01T00:00:00Z", 0),
        ("since", "2020-01-01T00:00:00+01:00", 3),
    ):
        found = api.get("/history", params={**asked, "limit": 50, name: value}).json()
        assert len(found["changes"]) == count, name


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("limit=0", 422, "limit"),
        ("colour=red", 422, "colour"),
        ("since=yesterday", 422, "since"),
        ("since=2026-01-01T00:00:00", 422, "since"),
        ("record_id=x", 422, "record_id"),
        ("cursor=x", 400, "cursor"),
    ],
)
def test_a_question_that_is_none_is_refused(
    api: httpx.Client, query: str, status: int, field: str
) -> None:
    refused = api.get(f"/history?{query}")
    assert refused.status_code == status
    assert refused.json()["errors"][0]["field"] == field


def test_the_history_of_nothing_is_not_there(api: httpx.Client) -> None:
    assert api.get("/accounts/99999999/history").status_code == 404
    assert api.get("/nothing/1/history").status_code == 404
    assert api.get("/history?entity=nothing").status_code == 404


def test_unreadable_fields_are_not_in_the_history(served, api, account) -> None:  # type: ignore[no-untyped-def]
    with signed_in(served, api, {"entity": "account"}, hidden="status") as reader:
        changes = reader.get(f"/accounts/{account['id']}/history").json()["changes"]
        assert [one["row_version"] for one in changes] == [2, 1], (
            "the third changed the status only"
        )
        assert all("status" not in one["changes"] for one in changes)
        everything = reader.get("/history?limit=1000")
        assert {one["entity"] for one in everything.json()["changes"]} == {"account"}
        assert "status" not in everything.text


def test_records_outside_the_row_filter_have_no_history(served, api, account, acme) -> None:  # type: ignore[no-untyped-def]
    other = created(api, "/accounts", {**acme, "external_id": f"OTHER-{next(NUMBERS)}"})
    row_filter = [{"field": "id", "op": "eq", "value": account["id"]}]
    with signed_in(served, api, {"entity": "account", "row_filter": row_filter}) as reader:
        assert reader.get(f"/accounts/{account['id']}/history").status_code == 200
        refused = reader.get(f"/accounts/{other['id']}/history")
        assert refused.status_code == 404
        unknown = reader.get("/accounts/99999999/history")
        assert (
            refused.json()["detail"].replace(str(other["id"]), "99999999")
            == (unknown.json()["detail"])
        )
        listed = reader.get("/history?limit=1000").json()["changes"]
        assert {one["record_id"] for one in listed} == {account["id"]}
        assert reader.get("/history?entity=invoice").status_code == 404
        assert reader.get("/history/verification").status_code == 403


def test_a_verification_names_what_was_tampered_with(served, api, account) -> None:  # type: ignore[no-untyped-def]
    whole = api.get("/history/verification").json()
    assert (whole["whole"], whole["broken"]) == (True, None)
    assert api.get("/history/verification", params={"head": whole["head"]}).json()["whole"]
    database, now = served.organisation.database, served.organisation.clock()
    tampered = "UPDATE record_change SET actor = :who WHERE record_id = :id AND action = 'create'"
    with database.transaction(now=now) as uow:
        uow.execute(tampered, who="nobody", id=account["id"])
    broken = api.get("/history/verification").json()
    assert (broken["whole"], broken["fault"]) == (False, "it was changed")
    with database.transaction(now=now) as uow:
        uow.execute(tampered, who="admin", id=account["id"])
    assert api.get("/history/verification").json()["whole"]
