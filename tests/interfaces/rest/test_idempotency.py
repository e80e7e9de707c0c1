"""A request with an Idempotency-Key happens once, however often and however closely it is sent."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

Values = dict[str, str]


def test_the_answer_is_replayed(api: httpx.Client, acme: Values, key: Values) -> None:
    first = api.post("/accounts", json=acme, headers=key)
    again = api.post("/accounts", json=acme, headers=key)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    for header in ("content-type", "location", "etag"):
        assert first.headers[header] == again.headers[header]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"


def test_the_same_key_with_another_request_is_refused(served, api, acme, key) -> None:  # type: ignore[no-untyped-def]
    before = served.count("account")
    api.post("/accounts", json=acme, headers=key)
    other = api.post("/accounts", json=acme | {"external_id": "B"}, headers=key)
    elsewhere = api.post("/products", json=acme, headers=key)
    assert (other.status_code, elsewhere.status_code) == (422, 422)
    assert other.json()["errors"][0]["code"] == "idempotency_key_reused"
    assert (served.count("account"), served.count("product")) == (before + 1, 0)


def test_a_refused_request_may_be_mended_under_its_key(
    api: httpx.Client, acme: Values, key: Values
) -> None:
    assert api.post("/accounts", json={"name": "Acme"}, headers=key).status_code == 422
    assert api.post("/accounts", json=acme, headers=key).status_code == 201


def test_a_change_is_replayed_even_after_a_later_one(
    api: httpx.Client, acme: Values, key: Values
) -> None:
    path = f"/accounts/{api.post('/accounts', json=acme).json()['id']}"
    first = api.patch(path, json={"name": "One"}, headers=key)
    api.patch(path, json={"name": "Two"})
    again = api.patch(path, json={"name": "One"}, headers=key)
    assert again.json() == first.json()
    assert api.get(path).json()["name"] == "Two"


@pytest.mark.parametrize("unusable", ["", "x" * 201])
def test_an_unusable_key_is_refused(api: httpx.Client, acme: Values, unusable: str) -> None:
    assert (
        api.post("/accounts", json=acme, headers={"Idempotency-Key": unusable}).status_code == 400
    )


def test_sixteen_at_once_make_one_record(served, acme, key) -> None:  # type: ignore[no-untyped-def]
    before = served.count("account")

    def post(_number: int) -> tuple[int, bytes]:
        with served.client() as client:
            response = client.post("/accounts", json=acme, headers=key)
        return response.status_code, response.content

    with ThreadPoolExecutor(16) as threads:
        answers = set(threads.map(post, range(16)))
    assert len(answers) == 1
    assert answers.pop()[0] == 201
    assert served.count("account") == before + 1
