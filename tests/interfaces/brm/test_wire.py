"""The wire as clients in the field expect it: the checklist of what their code looks at."""

import base64
import json

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.interfaces.conftest import PASSWORD_OF_OTHERS, Place, make_user

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=12,
)


@pytest.fixture
def http(place: Place) -> httpx.Client:
    """A client with the token as the session's id."""
    return place.client(sessionid=place.token)


def login(place: Place, **changes: object) -> httpx.Response:
    """The answer to a login."""
    body = {"username": "admin", "password": place.password, **changes}
    return httpx.post(f"{place.url}/rest/2.0/login", json=body, timeout=60)


def test_a_session_from_login_to_logout(place: Place) -> None:
    (told,) = login(place).json()["loginResponse"]
    assert (told["ErrorCode"], told["ErrorText"]) == ("0", [])
    for name in ("sessionid", "sessionId", "SESSIONID"):
        with place.client(**{name: told["SessionID"]}) as client:
            assert client.get("/rest/2.0/ACCESS_ROLE").status_code == 200
    with place.client(sessionid=told["SessionID"]) as client:
        answer = client.post("/acme/rest/2.0/logout")
        assert answer.json() == {
            "logoutResponse": [{"ErrorCode": "0", "ErrorText": " ", "Success": "true"}]
        }
        ended = client.get("/rest/2.0/ACCESS_ROLE")
    assert ended.status_code == 500
    assert ended.json()["errors"][0]["error_code"] == "INVALID_SESSION_ID"


def test_login_in_any_spelling_and_content_type(place: Place) -> None:
    text = json.dumps({"username": "admin", "password": place.password})
    for path in ("/rest/2.0/LOGIN", "/acme/rest/2.0/Login", "/rest/2.1/login"):
        headers = {"content-type": "text/plain;charset=UTF-8"}
        answer = httpx.post(place.url + path, content=text, headers=headers, timeout=60)
        assert answer.json()["loginResponse"][0]["SessionID"]
    assert login(place, password="wrong").status_code == 401
    assert login(place, password=None).status_code == 400
    assert httpx.get(f"{place.url}/rest/2.0/login").status_code == 400


def test_without_a_session_401_and_the_two_shapes_of_an_error(place: Place) -> None:
    answer = httpx.get(f"{place.url}/rest/2.0/query?sql=SELECT%20Id%20FROM%20ACCOUNT")
    assert answer.status_code == 401
    body = answer.json()
    assert (body["error"], body["message"]) == ("Unauthorized", "no session id was sent")
    assert body["errors"][0]["error_code"] == "UNAUTHORIZED"


def test_bearer_alone_and_client_credentials(place: Place) -> None:
    basic = "Basic " + base64.b64encode(f"admin:{place.password}".encode()).decode()
    url = f"{place.url}/acme/auth/1.0/authenticate?grant_type=client_credentials"
    answer = httpx.post(url, headers={"Authorization": basic}, timeout=60).json()
    assert answer["token_type"] == "Bearer" and answer["expires_in"] == 43200
    for token in (answer["access_token"], answer["refresh_token"], place.token):
        with place.client(Authorization=f"Bearer {token}") as client:
            assert client.get("/rest/2.0/ACCESS_ROLE").status_code == 200
    for wrong in ("Basic !!!", "Basic " + base64.b64encode(b"a:b").decode(), "Bearer x"):
        assert httpx.post(url, headers={"Authorization": wrong}, timeout=60).status_code == 401
    other = url.replace("client_credentials", "password")
    assert httpx.post(other, headers={"Authorization": basic}).status_code == 400


def test_bodies_are_read_whatever_they_say_they_are(http: httpx.Client) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
        answer = http.post(
            "/rest/2.0/ACCOUNT",
            content='{"brmObjects": {"Name": "Any"}}',
            headers={"content-type": kind},
        )
        assert answer.status_code == 200
        assert answer.json()["createResponse"][0]["ErrorCode"] == "0"


def test_retrieve_is_a_list_for_one_id_and_404_for_none(http: httpx.Client) -> None:
    (made,) = http.post("/rest/2.0/account", json={"brmObjects": [{"Name": "One"}]}).json()[
        "createResponse"
    ]
    answer = http.get(f"/rest/2.0/ACCOUNT/{made['Id']}")
    (record,) = answer.json()["retrieveResponse"]
    assert record["Name"] == "One" and set(map(type, record.values())) == {str}
    for absent in ("/rest/2.0/ACCOUNT/99999999", "/rest/2.0/ACCOUNT/x", "/rest/2.0/GHOST/1"):
        assert http.get(absent).status_code == 404
    nothing = http.get("/rest/2.0/ACCOUNT", params={"queryAnsiSql": "Name = 'nobody'"})
    assert nothing.status_code == 404


def test_by_path_a_change_is_found_under_both_names(http: httpx.Client) -> None:
    (made,) = http.post("/rest/2.0/ACCOUNT", json={"brmObjects": {"Name": "P"}}).json()[
        "createResponse"
    ]
    answer = http.put(f"/rest/2.0/ACCOUNT/{made['Id']}", json={"brmObjects": {"Name": "Q"}}).json()
    assert answer["updateResponse"] == answer["upsertResponse"]
    assert answer["upsertResponse"][0]["Id"] == made["Id"]
    patched = http.patch(
        f"/rest/2.0/ACCOUNT/{made['Id']}", json={"brmObjects": {"Name": "R"}}
    ).json()
    assert patched["upsertResponse"][0]["success"] is True
    (record,) = http.get(f"/rest/2.0/ACCOUNT/{made['Id']}").json()["retrieveResponse"]
    assert record["Name"] == "R"


def test_delete_has_a_body(http: httpx.Client) -> None:
    (made,) = http.post("/rest/2.0/ACCOUNT", json={"brmObjects": {"Name": "D"}}).json()[
        "createResponse"
    ]
    body = {"brmObjects": [{"Id": made["Id"]}], "EmptyRecycleBin": "1"}
    gone = http.request("DELETE", "/acme/rest/2.0/delete/ACCOUNT", json=body)
    assert gone.json()["deleteResponse"][0]["ErrorText"] == " "
    again = http.request("DELETE", "/rest/2.0/delete/ACCOUNT", json=body).json()
    assert again["deleteResponse"][0]["ErrorCode"] == "UNKNOWN_RECORD"
    back = http.request(
        "DELETE", "/rest/2.0/undelete/ACCOUNT", json={"brmObjects": body["brmObjects"][0]}
    )
    assert back.json()["undeleteResponse"][0]["success"] is True


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/rest/2.0/ACCOUNT", ""),
        ("POST", "/rest/2.0/ACCOUNT", "[]"),
        ("POST", "/rest/2.0/ACCOUNT/1", '{"brmObjects": {"Name": "x"}}'),
        ("POST", "/rest/2.0/ACCOUNT", "{"),
        ("POST", "/rest/2.0/ACCOUNT", '{"brmObjects": []}'),
        ("POST", "/rest/2.0/ACCOUNT", '{"brmObjects": [1]}'),
        ("POST", "/rest/2.0/ACCOUNT", '{"brmObjects": "x"}'),
        ("POST", "/rest/2.0/query", "{}"),
        ("GET", "/rest/2.0/query", ""),
        ("GET", "/rest/2.0/ACCOUNT?queryAnsiSql=((", ""),
        ("GET", "/rest/2.0/ACCOUNT?queryAnsiSql=1%3D1%3B+DROP+TABLE+account", ""),
        ("PATCH", "/rest/2.0/ACCOUNT", '{"brmObjects": {"Name": "x"}}'),
        ("TRACE", "/rest/2.0/ACCOUNT", ""),
        ("PUT", "/rest/2.0/query", "{}"),
        ("POST", "/rest/2.0/files/ACCOUNT/1/Name", '{"Data": "AAAA"}'),
        ("POST", "/rest/2.0/files/ACCOUNT/1/Name", '{"Data": "%"}'),
        ("POST", "/rest/2.0/bulk_api_request", '{"brmObjects": 5}'),
    ],
)
def test_what_cannot_be_followed_is_a_bad_request(
    http: httpx.Client, place: Place, method: str, path: str, body: str
) -> None:
    before = place.count("account")
    answer = http.request(method, path, content=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"] == "Bad request"
    assert place.count("account") == before


def test_paths_that_are_not_ours(http: httpx.Client) -> None:
    for path in ("/rest/2.0/", "/rest/2.0/a/b/c", "/rest/2.0/delete", "/auth/1.0/x"):
        assert http.request("DELETE", path).status_code == 404
    for path in ("/rest/3.0/query", "/a/b/rest/2.0/query"):
        answer = http.get(path)
        assert answer.headers["content-type"] == "application/problem+json"


def test_too_many_failed_logins_are_429(place: Place) -> None:
    # Each further failure doubles the wait, so that a slow machine gets there, too.
    answers: list[int] = []
    while 429 not in answers and len(answers) < 20:
        last = login(place, username="guesser", password="x")
        answers.append(last.status_code)
    assert answers[0] == 401 and answers[-1] == 429
    assert int(last.headers["retry-after"]) >= 1


def test_the_history_says_who_and_from_where(place: Place) -> None:
    make_user(place, "script", {"account": ["read", "create"]})
    told = login(place, username="script", password=PASSWORD_OF_OTHERS).json()["loginResponse"]
    with place.client(sessionid=told[0]["SessionID"]) as client:
        answer = client.post("/rest/2.0/ACCOUNT", json={"brmObjects": {"Name": "S"}})
        made = answer.json()["createResponse"][0]["Id"]
        assert answer.headers["x-request-id"]
    database = place.organisation.database
    with database.transaction(now=place.organisation.clock()) as uow:
        (change,) = uow.query(
            "SELECT actor, source FROM record_change WHERE entity = 'account' AND record_id = :id",
            id=int(made),
        )
    assert change == {"actor": "script", "source": "brm"}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON, st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]), st.booleans())
def test_garbage_is_never_a_fault_of_the_program(
    place: Place, value: object, method: str, is_record: bool
) -> None:
    body = {"brmObjects": value, "externalIDFieldName": "ExternalKey"} if is_record else value
    with place.client(sessionid=place.token) as client:
        for path in ("/rest/2.0/SITE", "/rest/2.0/delete/SITE", "/rest/2.0/bulk_api_request"):
            answer = client.request(method, path, json=body)
            assert answer.status_code in (200, 400, 404), answer.text


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["Name", "Country", "AccountId", "ExternalKey", "ExternalId", "TimeZone"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=300) | st.floats(),
    )
)
def test_any_value_in_any_field(place: Place, record: dict[str, object]) -> None:
    with place.client(sessionid=place.token) as client:
        for value in (record, [record, {"Id": "1", **record}]):
            try:
                answer = client.put("/rest/2.0/SITE", json={"brmObjects": value})
            except (ValueError, UnicodeEncodeError):
                return
            assert answer.status_code in (200, 400), answer.text
