"""Every error is a problem document that says where and why; and nothing was changed."""

import json

import httpx
import pytest


def problem(response: httpx.Response, status: int) -> dict[str, object]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document["instance"] == response.url.path
    assert document["errors"]
    return dict(document)


def test_malformed_json_names_line_and_column(api: httpx.Client) -> None:
    body = '{"external_id": "ACME",\n "name": Acme}'
    headers = {"content-type": "application/json"}
    document = problem(api.post("/accounts", content=body, headers=headers), 400)
    assert "line 2, column 10" in str(document["detail"])


@pytest.mark.parametrize(
    "body", [b"", b"   ", b"[1]", b"null", b'{"name":', b"\xff\xfe", b'{"a":NaN}', b"[" * 100_000]
)
def test_what_is_no_json_object_is_refused(api: httpx.Client, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    problem(api.post("/accounts", content=body, headers=headers), 400)


def test_a_form_is_refused_with_the_type_to_send(api: httpx.Client) -> None:
    document = problem(api.post("/accounts", data={"name": "Acme"}), 415)
    assert document["errors"][0]["allowed"] == ["application/json"]


def test_all_problems_of_a_record_are_told_at_once(api: httpx.Client) -> None:
    document = problem(api.post("/accounts", json={"name": "", "status": "asleep"}), 422)
    codes = {(error["field"], error["code"]) for error in document["errors"]}
    assert codes == {
        ("external_id", "required"),
        ("name", "required"),
        ("status", "unknown_choice"),
    }


def test_one_bad_record_refuses_all_and_is_named_by_its_place(api: httpx.Client) -> None:
    rows = [{"external_id": f"REFUSED-{n}", "name": "A"} for n in range(5)]
    rows[3]["name"] = "x" * 256
    document = problem(api.post("/accounts", json={"records": rows}), 422)
    assert [(e["line"], e["field"]) for e in document["errors"]] == [(4, "name")]
    query = {"external_id__contains": "REFUSED"}
    assert api.get("/accounts", params=query).json()["records"] == []


@pytest.mark.parametrize("records", [None, "all", [1], {"a": 1}])
def test_records_have_to_be_a_list_of_objects(api: httpx.Client, records: object) -> None:
    problem(api.post("/accounts", json={"records": records}), 422)


def test_more_than_ten_thousand_records_are_refused(api: httpx.Client) -> None:
    rows = [{"external_id": f"A{n}", "name": "A"} for n in range(10_001)]
    problem(api.post("/accounts", json={"records": rows}), 413)


def test_an_overlarge_body_is_refused(api: httpx.Client) -> None:
    body = json.dumps({"name": "x" * (33 << 20)}).encode()
    try:
        response = api.post("/accounts", content=body)
    except httpx.WriteError:
        return  # the server hung up before the client had sent it all
    problem(response, 413)


def test_a_second_record_with_a_unique_value_conflicts(
    api: httpx.Client, acme: dict[str, str]
) -> None:
    assert api.post("/accounts", json=acme).status_code == 201
    document = problem(api.post("/accounts", json=acme), 409)
    assert acme["external_id"] in str(document["detail"])


@pytest.mark.parametrize("path", ["/colours", "/colours/1", "/accounts/1/2/3", "/accounts/999"])
def test_nothing_there(api: httpx.Client, path: str) -> None:
    problem(api.get(path), 404)


@pytest.mark.parametrize(
    "path", ["/accounts/ACME", "/accounts/-1", "/accounts/99999999999999999999"]
)
def test_what_is_no_id_is_not_found(api: httpx.Client, path: str) -> None:
    problem(api.get(path), 404)


def test_a_record_is_not_put(api: httpx.Client) -> None:
    refused = api.put("/accounts/1")
    problem(refused, 405)
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD", "PATCH", "DELETE"}


def test_immutable_and_computed_fields_do_not_change(
    api: httpx.Client, acme: dict[str, str]
) -> None:
    created = api.post("/accounts", json=acme).json()
    refused = api.patch(f"/accounts/{created['id']}", json={"external_id": "B", "root_id": 7})
    document = problem(refused, 422)
    assert {e["field"] for e in document["errors"]} == {"external_id", "root_id"}


def test_a_fault_of_the_program_tells_nothing_of_its_inside(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_named: object) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr("counterfoil.platform.records.unit_of_work.UnitOfWork.list", fail)
    response = api.get("/accounts")
    problem(response, 500)
    assert "secret" not in response.text


def test_numbers_are_read_exactly(api: httpx.Client) -> None:
    number = "12345678901234567890.123456789012345"
    definition = f'{{"format": "cloudevents", "minimum_quantity": {number}}}'
    body = f'{{"external_id": "c", "name": "c", "definition": {definition}}}'
    headers = {"content-type": "application/json"}
    created = api.post("/collectors", content=body, headers=headers)
    assert created.status_code == 201, created.text
    assert created.json()["definition"]["minimum_quantity"] == number


def test_a_number_that_would_fill_the_memory_is_refused(api: httpx.Client) -> None:
    body = b'{"external_id": "c", "name": "c", "definition": {"n": 1e999999999}}'
    problem(
        api.post("/collectors", content=body, headers={"content-type": "application/json"}), 400
    )


@pytest.mark.parametrize("depth", [200, 450, 900])
def test_a_document_nested_too_deeply_is_refused(api: httpx.Client, depth: int) -> None:
    body = '{"external_id": "DEEP", "commands": ' + "[" * depth + "]" * depth + "}"
    headers = {"content-type": "application/json"}
    answer = api.post("/access-roles", content=body, headers=headers)
    document = problem(answer, answer.status_code)
    assert document["errors"][0]["code"] in ("too_deep", "malformed_json")
    assert answer.status_code in (400, 422)
    assert api.get("/access-roles?external_id=DEEP").json()["records"] == []
