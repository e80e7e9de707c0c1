"""What a role may not see is not there, in whatever clause it is named, and nothing is changed."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from billingplatform import BillingPlatform, exceptions
from tests.interfaces.brm.conftest import sign_in_as
from tests.interfaces.conftest import Place

from counterfoil.interfaces.brm import collecting, writing
from counterfoil.interfaces.rest.app import ENDPOINTS

CLERK = {
    "account": ["read", "create", "update"],
    "billing_profile": ["read"],
    "contract": ["read"],
}


@pytest.fixture(scope="module")
def clerk(place: Place) -> Iterator[BillingPlatform]:
    """Sees accounts named Visible without their status, and no tax ids."""
    database = place.organisation.database
    with database.transaction(now=place.organisation.clock()) as uow:
        shown = uow.create("account", {"external_id": "V", "name": "Visible", "status": "closed"})
        hidden = uow.create("account", {"external_id": "H", "name": "not a number"})
        uow.create("account", {"external_id": "C", "name": "Visible", "parent_id": hidden["id"]})
        profile = {"currency": "USD", "tax_id": "SECRET-1"}
        uow.create("billing_profile", {**profile, "account_id": shown["id"]})
        uow.create("billing_profile", {**profile, "account_id": hidden["id"]})
    made = sign_in_as(
        place,
        "clerk",
        CLERK,
        unreadable={"account": ["status"], "billing_profile": ["tax_id"]},
        rows={"account": [{"field": "name", "op": "eq", "value": "Visible"}]},
    )
    yield made
    made.session.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT Status FROM ACCOUNT",
        "SELECT a.status FROM ACCOUNT a",
        "SELECT Id FROM ACCOUNT WHERE Status = 'CLOSED'",
        "SELECT Id FROM ACCOUNT ORDER BY Status",
        "SELECT COUNT(*) FROM ACCOUNT GROUP BY Status",
        "SELECT COUNT(*) FROM ACCOUNT HAVING MAX(Status) = 'CLOSED'",
        "SELECT UPPER(Status) x FROM ACCOUNT",
        "SELECT CASE WHEN Status = 'CLOSED' THEN 1 END x FROM ACCOUNT",
        "SELECT AccountObj.Status FROM BILLING_PROFILE",
        "SELECT Id FROM BILLING_PROFILE WHERE AccountObj.Status LIKE 'C%'",
        "SELECT b.Id FROM BILLING_PROFILE b JOIN ACCOUNT a ON a.Status = b.BillTo",
        "SELECT NationalIdentityNumber FROM BILLING_PROFILE",
        "SELECT TaxId FROM BILLING_PROFILE",
        "SELECT ParentAccountObj.ParentAccountObj.Status FROM ACCOUNT",
        "SELECT Id FROM CONTRACT WHERE AccountId IN (SELECT Id FROM ACCOUNT WHERE Status = 1)",
        "SELECT Name, (SELECT Status FROM ACCOUNT.ParentAccountObj) FROM ACCOUNT",
        "SELECT Name, (SELECT Id FROM ACCOUNT.ParentAccountObj ORDER BY Status) FROM ACCOUNT",
    ],
)
def test_an_unreadable_field_is_as_one_that_is_not_there(clerk: BillingPlatform, sql: str) -> None:
    with pytest.raises(exceptions.BillingPlatform400Exception) as caught:
        clerk.query(sql)
    error = caught.value.response.json()["errors"][0]
    assert error["error_code"] == "UNKNOWN_FIELD"
    assert "Status" not in error["allowed"] and "TaxId" not in error["allowed"]
    ghost = sql.replace("NationalIdentityNumber", "Ghost").replace("TaxId", "Ghost")
    ghost = ghost.replace("Status", "Ghost").replace("status", "Ghost")
    with pytest.raises(exceptions.BillingPlatform400Exception) as other:
        clerk.query(ghost)
    told = other.value.response.json()["errors"][0]
    assert {**told, "error_field": "", "error_text": ""} == {
        **error,
        "error_field": "",
        "error_text": "",
    }


def test_records_outside_the_row_filter_are_not_there(clerk: BillingPlatform) -> None:
    assert clerk.query("SELECT Name, COUNT(*) n FROM ACCOUNT GROUP BY Name")["queryResponse"] == [
        {"Name": "Visible", "n": "2"}
    ]
    for sql in (
        "SELECT Id FROM ACCOUNT WHERE ExternalKey = 'H'",
        "SELECT Id FROM ACCOUNT WHERE ParentAccountObj.Name IS NOT NULL",
        "SELECT b.Id FROM BILLING_PROFILE b JOIN ACCOUNT a ON 1 = 1 WHERE a.ExternalKey = 'H'",
        "SELECT Id FROM BILLING_PROFILE WHERE AccountObj.Name <> 'Visible'",
    ):
        with pytest.raises(exceptions.BillingPlatform404Exception):
            clerk.query(sql)


def test_no_condition_is_tried_on_a_hidden_record(clerk: BillingPlatform) -> None:
    """The hidden name is no number: tried on it, the conversion would fail and so tell it."""
    for sql in (
        "SELECT Id FROM ACCOUNT WHERE TO_NUMBER(DECODE(Name, 'Visible', '1', Name)) = 1",
        "SELECT Id FROM ACCOUNT WHERE 1 / DECODE(Name, 'not a number', 0, 1) = 1",
    ):
        assert len(clerk.query(sql)["queryResponse"]) == 2


@pytest.mark.parametrize("entity", ["INVOICE", "SITE", "ACCESS_USER", "PRODUCT", "ACCOUNT_PRODUCT"])
def test_an_entity_without_a_grant_is_not_there(clerk: BillingPlatform, entity: str) -> None:
    with pytest.raises(exceptions.BillingPlatform400Exception) as caught:
        clerk.query(f"SELECT Id FROM {entity}")
    assert caught.value.response.json()["errors"][0]["error_code"] == "UNKNOWN_ENTITY"
    with pytest.raises(exceptions.BillingPlatform404Exception):
        clerk.retrieve_by_id(entity, 1)
    (refused,) = clerk.create(entity, {"Name": "x"})["createResponse"]
    assert refused["ErrorCode"] == "UNKNOWN_ENTITY"


def test_a_record_shows_what_may_be_read(clerk: BillingPlatform) -> None:
    (record,) = clerk.retrieve_by_query("ACCOUNT", "ExternalKey = 'V'")["retrieveResponse"]
    assert "Status" not in record and record["Name"] == "Visible"
    (profile,) = clerk.retrieve_by_query("BILLING_PROFILE", "AccountObj.Name = 'Visible'")[
        "retrieveResponse"
    ]
    assert "NationalIdentityNumber" not in profile and "SECRET-1" not in str(profile)


def test_a_record_goes_back_as_a_clerk_has_read_it(clerk: BillingPlatform, place: Place) -> None:
    database = place.organisation.database
    with database.transaction(now=place.organisation.clock()) as uow:
        role = uow.find("access_role", external_id="clerk")
        assert role is not None
        rule = {"access_role_id": role["id"], "entity": "account", "field": "pool_node"}
        uow.create("field_rule", {**rule, "denies": "write"})
    (record,) = clerk.retrieve_by_query("ACCOUNT", "ExternalKey = 'C'")["retrieveResponse"]
    assert record["PoolNode"] == "0" and record["ParentAccountId"]
    (element,) = clerk.update("ACCOUNT", record)["updateResponse"]
    assert element["ErrorText"] == " "
    before = admin_accounts(place)
    (denied,) = clerk.update("ACCOUNT", {**record, "PoolNode": "1"})["updateResponse"]
    assert denied["ErrorElementField"] == "PoolNode"
    assert admin_accounts(place) == before


def test_denied_writes_change_nothing(clerk: BillingPlatform, place: Place) -> None:
    (hidden,) = (row for row in admin_accounts(place) if row["external_id"] == "H")
    before = admin_accounts(place)
    answers = [
        clerk.update("ACCOUNT", {"Id": str(hidden["id"]), "Name": "Mine"})["updateResponse"],
        clerk.delete("ACCOUNT", {"Id": "1"})["deleteResponse"],
        clerk.undelete("ACCOUNT", {"Id": "1"})["undeleteResponse"],
        clerk.create("ACCOUNT", {"Name": "Out of my rows"})["createResponse"],
        clerk.create("ACCOUNT", {"Name": "Visible", "Status": "CLOSED"})["createResponse"],
        clerk.create("CONTRACT", {"AccountId": "1", "ContractNumber": "K"})["createResponse"],
        clerk.upsert("ACCOUNT", {"ExternalKey": "H", "Name": "Visible"}, "ExternalKey")[
            "upsertResponse"
        ],
    ]
    assert [answer[0]["success"] for answer in answers] == [False] * len(answers)
    assert admin_accounts(place) == before


def admin_accounts(place: Place) -> list[dict[str, object]]:
    """All accounts, read with every right."""
    database = place.organisation.database
    with database.transaction(now=place.organisation.clock()) as uow:
        return uow.list("account", limit=1000).records


def test_a_command_has_to_be_granted(place: Place) -> None:
    reads = ["account", "charge", "rate_plan", "subscription", "subscription_charge"]
    client = sign_in_as(place, "reader", {entity: ["read"] for entity in reads})
    (refused,) = client.create(
        "ACCOUNT_PACKAGE", {"AccountId": "1", "PackageId": "1", "StartDate": "2026-01-01"}
    )["createResponse"]
    assert refused["ErrorCode"] in ("NOT_GRANTED", "UNKNOWN_REFERENCE")
    assert place.count("subscription") == 0


def test_every_command_that_is_asked_for_can_be_granted() -> None:
    room = Path(writing.__file__).parent
    named = {
        name
        for file in room.glob("*.py")
        for name in re.findall(r'demand_command\("(\w+)"\)', file.read_text(encoding="utf-8"))
    }
    assert {"activate_subscriptions", "record_payments", "keep_files"} <= named
    assert {*named, collecting.COMMAND} <= {one.command for one in ENDPOINTS}
