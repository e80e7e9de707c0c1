"""Lists: filters, order, and pages that neither repeat nor miss a record."""

import httpx
import pytest

NAMES = ["Delta", "alpha", "Charlie", "Bravo", "Echo", "Bravo"]


@pytest.fixture(scope="module")
def accounts(served) -> list[int]:  # type: ignore[no-untyped-def]
    """Six accounts, ACME-1 to ACME-6, created together."""
    rows = [{"external_id": f"ACME-{n}", "name": name} for n, name in enumerate(NAMES, start=1)]
    with served.client() as api:
        created = api.post("/accounts", json={"records": rows})
    assert created.status_code == 201, created.text
    assert created.json()["created"] == len(NAMES)
    return list(created.json()["ids"])


def external_ids(api: httpx.Client, **query: str) -> list[str]:
    response = api.get("/accounts", params=query)
    assert response.status_code == 200, response.text
    return [record["external_id"].removeprefix("ACME-") for record in response.json()["records"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"name": "Bravo"}, ["4", "6"]),
        ({"name__ne": "Bravo"}, ["1", "2", "3", "5"]),
        ({"name__in": "alpha,Echo"}, ["2", "5"]),
        ({"name__contains": "LPH"}, ["2"]),
        ({"parent_id__is_null": "false"}, []),
        ({"external_id__gte": "ACME-5"}, ["5", "6"]),
        ({"external_id__gt": "ACME-1", "external_id__lt": "ACME-4"}, ["2", "3"]),
        ({"external_id__lte": "ACME-2", "sort": "-external_id"}, ["2", "1"]),
        ({"status": "closed"}, []),
        ({"name": "Bravo", "sort": "-id"}, ["6", "4"]),
        ({"created_at__gt": "2020-01-01T00:00:00Z", "limit": "1"}, ["1"]),
    ],
)
def test_filters(
    api: httpx.Client, accounts: list[int], query: dict[str, str], found: list[str]
) -> None:
    assert external_ids(api, **query) == found


def test_pages_follow_the_cursor_and_the_link(api: httpx.Client, accounts: list[int]) -> None:
    seen: list[int] = []
    page = api.get("/accounts", params={"sort": "-name", "limit": "2"})
    while True:
        seen += [record["id"] for record in page.json()["records"]]
        if page.json()["next_cursor"] is None:
            break
        assert f"cursor={page.json()['next_cursor']}" in page.links["next"]["url"]
        page = api.get(str(page.url.join(page.links["next"]["url"])))
    assert sorted(seen) == accounts
    assert "link" not in page.headers


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"colour": "green"}, "colour"),
        ({"name__like": "A%"}, "name"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"sort": "colour"}, "sort"),
        ({"id": "one"}, "id"),
        ({"status": "asleep"}, "status"),
        ({"created_at__gt": "2026-01-01T00:00:00"}, "created_at"),
        ({"cursor": "made-up"}, "cursor"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    api: httpx.Client, query: dict[str, str], field: str
) -> None:
    refused = api.get("/accounts", params=query)
    assert refused.status_code in {400, 422}
    assert [error["field"] for error in refused.json()["errors"]] == [field]


def test_refused_choices_name_the_allowed_ones(api: httpx.Client) -> None:
    errors = api.get("/accounts", params={"status": "asleep"}).json()["errors"]
    assert errors[0]["allowed"] == ["active", "closed"]
