"""Every method of the client library for BillingPlatform, unmodified, against a real server."""

import itertools

import pytest
from billingplatform import BillingPlatform, exceptions
from tests.interfaces.conftest import Place

from counterfoil.interfaces.brm import writing
from counterfoil.interfaces.brm.words import dialect_of

NUMBERS = itertools.count(1)


def new_account(client: BillingPlatform, **fields: object) -> str:
    """The Id of an account made now."""
    name = f"Acme {next(NUMBERS)}"
    answer = client.create("ACCOUNT", {"Name": name, "Status": "ACTIVE", "Id": "", **fields})
    (element,) = answer["createResponse"]
    assert (element["ErrorCode"], element["ErrorText"], element["success"]) == ("0", " ", True)
    return str(element["Id"])


def test_login_and_logout(place: Place) -> None:
    client = BillingPlatform(place.url, "admin", place.password, logout_at_exit=False)
    assert client.session.headers["sessionid"]
    client.logout()
    with pytest.raises(exceptions.BillingPlatform401Exception):
        BillingPlatform(place.url, "admin", "wrong", logout_at_exit=False)


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_client_credentials_give_a_bearer_token(place: Place, which: str) -> None:
    client = BillingPlatform(
        place.url,
        client_id="admin",
        client_secret=place.token,
        use_token=which,  # type: ignore[arg-type]
        logout_at_exit=False,
    )
    assert "sessionid" not in client.session.headers
    new_account(client)
    assert client.query("SELECT Id FROM ACCOUNT")["queryResponse"]


def test_create_one_and_many_and_read_them_back(client: BillingPlatform) -> None:
    first = new_account(client)
    answer = client.create(
        "ACCOUNT", [{"Name": "Sub 1", "ParentAccountId": first}, {"Name": "Sub 2"}]
    )
    ids = [element["Id"] for element in answer["createResponse"]]
    (child,) = client.retrieve_by_id("ACCOUNT", ids[0])["retrieveResponse"]
    assert (child["Name"], child["Status"], child["ParentAccountId"]) == ("Sub 1", "ACTIVE", first)
    found = client.retrieve_by_query("ACCOUNT", f"Id IN ('{ids[0]}', '{ids[1]}') AND Name <> 'x'")
    assert [one["Name"] for one in found["retrieveResponse"]] == ["Sub 1", "Sub 2"]


def test_a_wrong_record_costs_no_other(client: BillingPlatform, place: Place) -> None:
    before = place.count("account")
    answer = client.create(
        "ACCOUNT",
        [
            {"Name": "Right", "ExternalKey": f"K{before}"},
            {"Name": "Wrong", "Status": "SLEEPING"},
            {"Name": "Twice", "ExternalKey": f"K{before}"},
            {"Name": "Unknown", "Colour": "red"},
        ],
    )["createResponse"]
    assert [one["ErrorCode"] for one in answer] == [
        "0",
        "UNKNOWN_CHOICE",
        "NOT_UNIQUE",
        "UNKNOWN_FIELD",
    ]
    assert answer[1]["ErrorElementField"] == "Status"
    assert answer[1]["ErrorText"] == "Status: 'SLEEPING' is not allowed (allowed: ACTIVE, CLOSED)"
    assert (answer[2]["ErrorElementField"], answer[3]["ErrorElementField"]) == (
        "ExternalKey",
        "Colour",
    )
    assert place.count("account") == before + 1


@pytest.mark.parametrize("entity", ["INVOICE", "PACKAGE_PRODUCT", "GHOST"])
def test_what_holds_for_every_record_is_found_out_once(
    client: BillingPlatform, place: Place, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []
    monkeypatch.setattr(
        writing, "dialect_of", lambda catalogue: tries.append(1) or dialect_of(catalogue)
    )
    records = [{"Name": str(n), "InvoiceNumber": str(n)} for n in range(50)]
    answer = client.create(entity, records)["createResponse"]
    assert [one["success"] for one in answer] == [False] * 50
    assert len({one["ErrorText"] for one in answer}) == 1
    assert len(tries) <= 2


def test_update_changes_what_is_named_only(client: BillingPlatform) -> None:
    parent = new_account(client)
    account = new_account(client, ParentAccountId=parent)
    (element,) = client.update("ACCOUNT", {"Id": account, "Name": "Renamed"})["updateResponse"]
    assert (element["Id"], element["success"]) == (account, True)
    (record,) = client.retrieve_by_id("ACCOUNT", account)["retrieveResponse"]
    assert (record["Name"], record["ParentAccountId"]) == ("Renamed", parent)
    client.update("ACCOUNT", {"Id": account, "fieldsToNull": ["ParentAccountId"]})
    (record,) = client.retrieve_by_id("ACCOUNT", account)["retrieveResponse"]
    assert record["ParentAccountId"] == ""
    (unknown,) = client.update("ACCOUNT", [{"Id": "999999", "Name": "x"}])["updateResponse"]
    assert (unknown["ErrorCode"], unknown["success"]) == ("UNKNOWN_RECORD", False)


def test_a_record_goes_back_as_it_was_read(client: BillingPlatform) -> None:
    account = new_account(client, ExternalKey=f"R-{next(NUMBERS)}")
    (profile,) = client.create(
        "BILLING_PROFILE", {"AccountId": account, "CurrencyCode": "USD", "Address1": "1 Main St"}
    )["createResponse"]
    (record,) = client.retrieve_by_id("BILLING_PROFILE", profile["Id"])["retrieveResponse"]
    assert "Street" not in record and record["Address1"] == "1 Main St"
    changed = {**record, "Address1": "2 Main St"}
    (element,) = client.update("BILLING_PROFILE", changed)["updateResponse"]
    assert element["ErrorText"] == " "
    (stale,) = client.update("BILLING_PROFILE", {**record, "City": "Austin"})["updateResponse"]
    assert stale["ErrorText"] == "RowVersion: has changed meanwhile: its version is 2"
    (now,) = client.retrieve_by_id("BILLING_PROFILE", profile["Id"])["retrieveResponse"]
    assert (now["Address1"], now["City"]) == ("2 Main St", "")
    other = new_account(client)
    (root,) = client.update("ACCOUNT", {"Id": account, "RootId": other})["updateResponse"]
    assert root["ErrorCode"] == "NOT_KEPT_HERE"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"fieldsToNull": ["Nmae"]}, "UNKNOWN_FIELD"),
        ({"fieldsToNull": "ParentAccountId"}, "WRONG_TYPE"),
        ({"Name": "One", "name": "Two"}, "DOUBLE_FIELD"),
        ({"ExternalKey": "one-key", "ExternalId": "another"}, "DOUBLE_FIELD"),
        ({"Name": "One", "fieldsToNull": ["Name"]}, "REQUIRED"),
        ({"fieldsToNull": ["Status"]}, "REQUIRED"),
        ({"Status": ""}, "REQUIRED"),
    ],
)
def test_nothing_that_is_sent_is_lost(
    client: BillingPlatform, change: dict[str, object], code: str
) -> None:
    account = new_account(client)
    (before,) = client.retrieve_by_id("ACCOUNT", account)["retrieveResponse"]
    (element,) = client.update("ACCOUNT", {"Id": account, **change})["updateResponse"]
    assert element["ErrorCode"] == code
    assert client.retrieve_by_id("ACCOUNT", account)["retrieveResponse"] == [before]


def test_upsert_by_an_external_id(client: BillingPlatform) -> None:
    key = f"U-{next(NUMBERS)}"
    (made,) = client.upsert("ACCOUNT", {"ExternalKey": key, "Name": "One"}, "ExternalKey")[
        "upsertResponse"
    ]
    assert made["created"] is True
    changed = client.upsert(
        "ACCOUNT",
        [{"ExternalKey": key, "Name": "Two"}, {"ExternalKey": f"{key}-new", "Name": "New"}],
        "ExternalId",
    )["upsertResponse"]
    assert [(one["success"], one["created"]) for one in changed] == [(True, False), (True, True)]
    assert changed[0]["Id"] == made["Id"]
    (refused,) = client.upsert("ACCOUNT", {"Name": "x"}, "Name")["upsertResponse"]
    assert refused["ErrorCode"] == "NOT_A_KEY"


def test_delete_and_undelete(client: BillingPlatform) -> None:
    parent = new_account(client)
    child = new_account(client, ParentAccountId=parent)
    (refused,) = client.delete("ACCOUNT", {"Id": parent})["deleteResponse"]
    assert refused["ErrorCode"] == "STILL_REFERENCED"
    assert client.delete("ACCOUNT", [{"Id": child}], EmptyRecycleBin=True)["deleteResponse"][0][
        "success"
    ]
    with pytest.raises(exceptions.BillingPlatform404Exception):
        client.retrieve_by_id("ACCOUNT", child)
    answer = client.undelete("ACCOUNT", {"Id": child})
    assert answer["undeleteResponse"] == answer["deleteResponse"]
    assert answer["undeleteResponse"][0]["Id"] == child
    (record,) = client.retrieve_by_id("ACCOUNT", child)["retrieveResponse"]
    assert record["ParentAccountId"] == parent


def test_pages_end_with_404(client: BillingPlatform) -> None:
    ids = [new_account(client, ExternalKey=f"page-{n}-{next(NUMBERS)}") for n in range(5)]
    sql = f"SELECT Id FROM ACCOUNT WHERE ExternalKey LIKE 'page-%' AND Id >= {ids[0]}"
    pages = [
        [row["Id"] for row in page["queryResponse"]] for page in client.page_query(sql, page_size=2)
    ]
    assert pages == [ids[:2], ids[2:4], ids[4:]]
    assert [row["Id"] for row in client.query(sql, offset=3)["queryResponse"]] == ids[3:]
    assert [row["Id"] for row in client.query(sql, limit=2)["queryResponse"]] == ids[:2]
    with pytest.raises(exceptions.BillingPlatform404Exception):
        client.query(sql, offset=5, limit=2)
