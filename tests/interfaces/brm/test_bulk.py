"""Bulk requests are really done, and their results are fetched as files by who asked."""

import base64
import csv
import io
import json
from typing import Any

import pytest
from billingplatform import BillingPlatform, exceptions
from tests.interfaces.brm.conftest import sign_in_as
from tests.interfaces.conftest import Place

from counterfoil.interfaces.brm import translating
from counterfoil.platform.model.applying import apply_change_set


def fetch(client: BillingPlatform, request: str) -> list[bytes]:
    """The batches of a request's result."""
    url = f"{client.rest_base_url}/files/BULK_API_REQUEST/{request}/ResponseFile"
    answer = client.session.get(url, timeout=60)
    assert answer.status_code == 200, answer.text
    return [base64.b64decode(one["Data"]) for one in answer.json()["retrieveResponse"]]


def asked(answer: dict[str, Any]) -> str:
    """The Id of a request that was taken."""
    (element,) = answer["createResponse"]
    assert (element["ErrorCode"], element["ErrorText"]) == ("0", " ")
    return str(element["Id"])


@pytest.fixture(scope="module", autouse=True)
def accounts(place: Place) -> None:
    """Seven accounts."""
    database = place.organisation.database
    with database.transaction(now=place.organisation.clock()) as uow:
        rows = [{"external_id": f"B{n}", "name": f'Bulk "{n}"'} for n in range(7)]
        uow.create_many("account", rows)


def test_a_query_in_batches(client: BillingPlatform) -> None:
    sql = "SELECT Id, Name n FROM ACCOUNT WHERE ExternalKey LIKE 'B%' ORDER BY Name DESC"
    request = asked(client.bulk_query_request("all", sql, RequestsPerBatch=3))
    batches = [json.loads(one) for one in fetch(client, request)]
    assert [len(one) for one in batches] == [3, 3, 1]
    assert [row["n"] for one in batches for row in one] == [f'Bulk "{n}"' for n in range(6, -1, -1)]
    (record,) = client.retrieve_by_id("BULK_API_REQUEST", int(request))["retrieveResponse"]
    assert (record["Status"], record["Records"], record["RequestMethod"]) == (
        "COMPLETE",
        "7",
        "QUERY",
    )
    limited = asked(client.bulk_query_request("few", f"{sql} OFFSET 1 ROWS FETCH NEXT 4 ROWS ONLY"))
    (batch,) = fetch(client, limited)
    assert [row["n"] for row in json.loads(batch)] == [f'Bulk "{n}"' for n in (5, 4, 3, 2)]


def test_as_many_rows_as_the_query_asks_for(
    client: BillingPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translating, "MOST_ROWS", 3)
    sql = "SELECT Id FROM ACCOUNT WHERE ExternalKey LIKE 'B%' FETCH NEXT 6 ROWS ONLY"
    request = asked(client.bulk_query_request("six", sql, RequestsPerBatch=2))
    assert [len(json.loads(one)) for one in fetch(client, request)] == [2, 2, 2]


def test_whole_records_as_csv(client: BillingPlatform) -> None:
    request = asked(
        client.bulk_retrieve_request(
            "some",
            "ExternalKey IN ('B1', 'B2')",
            "ACCOUNT",
            Columns=["Name", "Status"],
            CSVDelimiter=";",
            CSVEndLineFormat="LF",
        )
    )
    (batch,) = fetch(client, request)
    assert batch.decode() == 'Name;Status\n"Bulk ""1""";ACTIVE\n"Bulk ""2""";ACTIVE\n'
    everything = asked(client.bulk_retrieve_request("all", "ExternalKey = 'B1'", "account"))
    (batch,) = fetch(client, everything)
    (row,) = csv.DictReader(io.StringIO(batch.decode()))
    assert (row["Name"], row["PoolNode"]) == ('Bulk "1"', "0")


def test_both_names_of_the_batch_size(client: BillingPlatform) -> None:
    body = {"RequestName": "x", "RequestBody": "SELECT Id FROM ACCOUNT", "RecordsPerBatch": "2"}
    request = asked(client.create("bulk_api_request", body))
    assert len(json.loads(fetch(client, request)[0])) == 2


def test_a_request_that_fails_says_why(client: BillingPlatform) -> None:
    request = asked(client.bulk_query_request("bad", "SELECT Ghost FROM ACCOUNT"))
    (record,) = client.retrieve_by_id("BULK_API_REQUEST", int(request))["retrieveResponse"]
    assert record["Status"] == "FAILED"
    assert record["ErrorMessage"].startswith("Ghost: ACCOUNT has no such field")
    refused = client.create(
        "bulk_api_request", {"RequestMethod": "MDL EXTRACT", "RequestBody": "x"}
    )
    (element,) = refused["createResponse"]
    assert (element["ErrorCode"], element["ErrorElementField"]) == (
        "UNKNOWN_CHOICE",
        "RequestMethod",
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"CSVDelimiter": "\n"}, "CSVDelimiter"),
        ({"CSVDelimiter": "\x00"}, "CSVDelimiter"),
        ({"CSVDelimiter": ";;"}, "CSVDelimiter"),
        ({"CSVQualifier": "\r"}, "CSVDelimiter"),
        ({"CSVQualifier": ","}, "CSVDelimiter"),
        ({"Column": ["Id"]}, "Column"),
        ({"RequestName": "a\x00b"}, "name"),
        ({"RequestsPerBatch": "0"}, "RequestsPerBatch"),
    ],
)
def test_a_wrong_request_costs_no_other(
    client: BillingPlatform, change: dict[str, object], field: str
) -> None:
    right = {"RequestBody": "SELECT Id FROM ACCOUNT", "ResponseFormat": "CSV"}
    answer = client.create("bulk_api_request", [right, {**right, **change}])["createResponse"]
    assert [one["success"] for one in answer] == [True, False]
    assert answer[1]["ErrorElementField"] == field


def test_what_a_command_has_kept_is_not_replaced(client: BillingPlatform, place: Place) -> None:
    database, now = place.organisation.database, place.organisation.clock()
    days = {"start_date": "2026-01-01", "valid_until": "2026-01-31"}
    quote = {"number": "Q-1", "version": 1, "currency": "USD", "made_by": "ada", **days}
    with database.transaction(now=now) as uow:
        (made,) = uow.create_many("quote", [quote], by_command=True)
    before = place.count("stored_file")
    url = f"{client.rest_base_url}/files/QUOTE/{made}/StoredFileId"
    body = {"FileName": "quote.pdf", "Data": base64.b64encode(b"other terms").decode()}
    refused = client.session.post(url, json=body, timeout=60)
    assert refused.json()["errors"][0]["error_code"] == "MADE_BY_COMMAND"
    assert place.count("stored_file") == before


def test_a_result_is_for_who_asked(client: BillingPlatform, place: Place) -> None:
    other = sign_in_as(place, "clerk", {"account": ["read"], "extract": ["read"]})
    request = asked(client.bulk_query_request("mine", "SELECT Id FROM ACCOUNT"))
    url = f"{other.rest_base_url}/files/BULK_API_REQUEST/{request}/ResponseFile"
    assert other.session.get(url, timeout=60).status_code == 404
    own = asked(other.bulk_query_request("own", "SELECT Name FROM ACCOUNT"))
    assert len(json.loads(fetch(other, own)[0])) >= 7


def add_paper(place: Place) -> None:
    """Contacts have a file, whichever test comes first."""
    change = "change_set: Papers\nfields: {contact: {x_paper: {kind: file}}}\n"
    apply_change_set(
        place.organisation.database, change, now=place.organisation.clock(), source="cli"
    )


def test_a_file_of_a_record(client: BillingPlatform, place: Place) -> None:
    add_paper(place)
    (account,) = client.query("SELECT Id FROM ACCOUNT WHERE ExternalKey = 'B1'")["queryResponse"]
    made = client.create(
        "CONTACT", {"AccountId": account["Id"], "Name": "Ann", "ExternalKey": "ann"}
    )["createResponse"]
    url = f"{client.rest_base_url}/files/CONTACT/{made[0]['Id']}/x_paper"
    with pytest.raises(exceptions.BillingPlatform404Exception):
        client._response_handler(client.session.get(url, timeout=60))
    body = {"FileName": "id.pdf", "Data": base64.b64encode(b"\x00%PDF").decode()}
    answer = client.session.post(url, json=body, timeout=60).json()
    assert answer["createResponse"][0]["ErrorCode"] == "0"
    (read,) = client.session.get(url, timeout=60).json()["retrieveResponse"]
    assert (read["FileName"], base64.b64decode(read["Data"])) == ("id.pdf", b"\x00%PDF")


def test_a_result_is_not_for_a_key_that_may_see_less(client: BillingPlatform, place: Place) -> None:
    own = {"account": ["read"], "invoice": ["read"]}
    user = sign_in_as(place, "auditor", own)
    request = asked(user.bulk_query_request("all", "SELECT Name FROM ACCOUNT"))
    url = f"{user.rest_base_url}/files/BULK_API_REQUEST/{request}/ResponseFile"
    assert user.session.get(url, timeout=60).status_code == 200
    session = {"Authorization": f"Bearer {user.session.headers['sessionid']}"}
    with place.client(**session) as signed_in:
        asked_for = {"name": "invoices only", "scopes": ["invoice:read"]}
        key = signed_in.post("/api/v1/api-keys", json=asked_for).json()["key"]
    with place.client(Authorization=f"Bearer {key}") as narrow:
        path = f"/rest/2.0/files/BULK_API_REQUEST/{request}/ResponseFile"
        assert narrow.get(path).status_code == 404


def test_a_result_beyond_what_one_answer_holds_fails(
    client: BillingPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("counterfoil.interfaces.brm.extracts.LARGEST_RESULT", 100)
    request = asked(client.bulk_query_request("large", "SELECT Id, Name, Status FROM ACCOUNT"))
    url = f"{client.rest_base_url}/files/BULK_API_REQUEST/{request}/ResponseFile"
    refused = client.session.get(url, timeout=60)
    assert "more than 100 bytes" in refused.text


def test_a_file_of_any_name_is_downloaded_under_a_harmless_one(
    client: BillingPlatform, place: Place
) -> None:
    add_paper(place)
    (account,) = client.query("SELECT Id FROM ACCOUNT WHERE ExternalKey = 'B1'")["queryResponse"]
    made = client.create(
        "CONTACT", {"AccountId": account["Id"], "Name": "Eve", "ExternalKey": "eve"}
    )["createResponse"]
    url = f"{client.rest_base_url}/files/CONTACT/{made[0]['Id']}/x_paper"
    name = 'a"\r\nX-Evil: 1 5€.pdf'
    client.session.post(url, json={"FileName": name, "Data": "JVBERg=="}, timeout=60)
    with place.client(Authorization=f"Bearer {place.token}") as admin:
        contact = admin.get(f"/api/v1/contacts/{made[0]['Id']}").json()
        answer = admin.get(f"/api/v1/stored-files/{contact['x_paper']}/content")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == (
        'attachment; filename="a_X-Evil_1_5_.pdf"; '
        "filename*=UTF-8''a%22%0D%0AX-Evil%3A%201%205%E2%82%AC.pdf"
    )
    assert "x-evil" not in answer.headers
