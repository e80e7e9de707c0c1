"""Many records in one call: all or none, or each that can be."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.interfaces.rest.conftest import Served


def bulk(api: httpx.Client, operation: str, records: list[dict[str, object]], **more: object):
    into = more.pop("into", "accounts")
    return api.post(f"/{into}/bulk", json={"operation": operation, "records": records, **more})


def account(name: str, **more: object) -> dict[str, object]:
    return {"external_id": name, "name": name.title(), **more}


def actions(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [one["action"] for one in response.json()["results"]]


def test_records_live_from_create_to_undelete(api: httpx.Client):
    made = bulk(api, "create", [account("LIFE-1"), account("LIFE-2")])
    assert actions(made) == ["created", "created"]
    first, second = (one["id"] for one in made.json()["results"])

    changes = [{"id": first, "name": "Other", "row_version": 1}, {"id": second, "name": "Life-2"}]
    assert actions(bulk(api, "update", changes)) == ["updated", "unchanged"]
    by_name = [{"external_id": "LIFE-2", "status": "closed"}]
    assert actions(bulk(api, "update", by_name, by="external_id")) == ["updated"]

    upserts = [account("LIFE-1"), account("LIFE-3")]
    assert actions(bulk(api, "upsert", upserts)) == ["updated", "created"]
    assert actions(bulk(api, "upsert", upserts)) == ["unchanged", "unchanged"]

    gone = [{"external_id": "LIFE-1"}, {"external_id": "LIFE-2"}]
    assert actions(bulk(api, "delete", gone, by="external_id")) == ["deleted", "deleted"]
    assert api.get(f"/accounts/{first}").status_code == 404
    assert actions(bulk(api, "undelete", [{"id": first}])) == ["undeleted"]
    assert api.get(f"/accounts/{first}").json()["name"] == "Life-1"


def test_all_or_nothing_saves_nothing_when_one_is_wrong(served: Served, api: httpx.Client):
    before = served.count("account"), served.count("record_change")
    for operation in ("create", "upsert"):
        refused = bulk(api, operation, [account("ALL-1"), account("ALL-2", status="lost")])
        assert refused.status_code == 422
        assert [(one["line"], one["field"]) for one in refused.json()["errors"]] == [(2, "status")]
    assert (served.count("account"), served.count("record_change")) == before


def test_per_record_saves_the_good_ones_and_tells_of_the_others(served: Served, api: httpx.Client):
    api.post("/accounts", json=account("PER-OLD"))
    before = served.count("account")
    answer = bulk(
        api,
        "create",
        [
            account("PER-1"),
            account("PER-2", status="lost", nothing=1),
            account("PER-OLD"),
            account("PER-3", parent_id=99_999_999),
            account("PER-4"),
        ],
        mode="per_record",
    )
    assert actions(answer) == ["created", "refused", "refused", "refused", "created"]
    body = answer.json()
    assert (body["saved"], body["refused"]) == (2, 3)
    told = [
        (one["status"], [error["code"] for error in one["errors"]], one["errors"][0]["line"])
        for one in body["results"]
        if one["action"] == "refused"
    ]
    assert told == [
        (422, ["unknown_choice", "unknown_field"], 2),
        (409, ["not_unique"], 3),
        (422, ["unknown_reference"], 4),
    ]
    assert served.count("account") == before + 2


def test_a_stale_version_is_refused_for_its_record_alone(api: httpx.Client):
    made = bulk(api, "create", [account("STALE-1"), account("STALE-2")]).json()["results"]
    ids = [one["id"] for one in made]
    api.patch(f"/accounts/{ids[0]}", json={"name": "Newer"})
    rows: list[dict[str, object]] = [
        {"id": one, "row_version": 1, "status": "closed"} for one in ids
    ]
    whole = bulk(api, "update", rows)
    assert (whole.status_code, whole.json()["errors"][0]["line"]) == (409, 1)
    each = bulk(api, "update", rows, mode="per_record")
    assert actions(each) == ["refused", "updated"]
    deleted = bulk(api, "delete", rows, mode="per_record").json()["results"]
    assert [one["action"] for one in deleted] == ["refused", "refused"]


def test_of_many_deleted_those_referred_to_stay(api: httpx.Client):
    made = bulk(api, "create", [account("DEL-TOP"), account("DEL-LONE")]).json()["results"]
    top, lone = (one["id"] for one in made)
    below = api.post("/accounts", json=account("DEL-SUB", parent_id=top)).json()["id"]
    each = bulk(api, "delete", [{"id": top}, {"id": lone}], mode="per_record")
    assert actions(each) == ["refused", "deleted"]
    (error,) = each.json()["results"][0]["errors"]
    assert (error["code"], error["line"]) == ("still_referenced", 1)
    assert "1 account (DEL-SUB) in parent_id" in error["message"]
    together = bulk(api, "delete", [{"id": top}, {"id": below}])
    assert actions(together) == ["deleted", "deleted"]
    assert actions(bulk(api, "undelete", [{"id": below}, {"id": top}])) == ["undeleted"] * 2


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"operation": "burn", "records": []}, 422, "operation"),
        ({"operation": "create", "records": {}}, 422, "records"),
        ({"operation": "create", "records": [], "mode": "maybe"}, 422, "mode"),
        ({"operation": "create", "records": [], "extra": 1}, 422, "extra"),
        ({"operation": "upsert", "records": [{"name": "x"}], "by": "name"}, 422, "name"),
        ({"operation": "update", "records": [{"name": "x"}]}, 422, "id"),
        ({"operation": "update", "records": [{"id": "x"}]}, 422, "id"),
        ({"operation": "delete", "records": [{"id": 1}, {"id": 1}]}, 422, "id"),
        ({"operation": "create", "records": [{}] * 10_001}, 413, "records"),
    ],
)
def test_what_cannot_be_is_refused(
    served: Served, api: httpx.Client, body: dict[str, object], status: int, field: str
):
    before = served.count("record_change")
    refused = api.post("/accounts/bulk", json=body)
    assert refused.status_code == status
    assert field in [one["field"] for one in refused.json()["errors"]]
    assert served.count("record_change") == before


def test_what_commands_make_is_not_written_in_bulk(api: httpx.Client):
    for operation in ("create", "update", "upsert", "delete", "undelete"):
        refused = bulk(api, operation, [{"id": 1}], into="invoices")
        assert refused.status_code == 405


def test_lines_of_json_go_in_and_out(api: httpx.Client):
    lines = "\n".join(json.dumps(account(f"LINE-{n}")) for n in range(3))
    answer = api.post(
        "/accounts/bulk",
        params={"operation": "upsert", "mode": "per_record"},
        content=lines + "\n\n",
        headers={"Content-Type": "application/x-ndjson", "Accept": "application/x-ndjson"},
    )
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line)["action"] for line in answer.text.splitlines()] == ["created"] * 3
    broken = api.post(
        "/accounts/bulk",
        params={"operation": "upsert"},
        content='{"external_id": "X"}\n{"external',
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert (broken.status_code, broken.json()["errors"][0]["line"]) == (400, 2)


def test_lines_of_json_are_repeated_as_lines_of_json(api: httpx.Client, key: dict[str, str]):
    first, again, otherwise = (
        api.post(
            "/accounts/bulk",
            params={"operation": "create"},
            content="\n".join(json.dumps(account(f"LINES-{n}")) for n in range(2)),
            headers={"Content-Type": "application/x-ndjson", "Accept": accepted, **key},
        )
        for accepted in ("application/x-ndjson", "application/x-ndjson", "application/json")
    )
    assert again.headers["idempotency-replayed"] == "true"
    for repeated in (again, otherwise):
        assert repeated.headers["content-type"] == first.headers["content-type"]
        assert repeated.content == first.content
    assert len(first.text.splitlines()) == 2


def test_ten_thousand_records_in_one_call(served: Served, api: httpx.Client):
    rows = [account(f"MANY-{n:05}") for n in range(10_000)]
    before = served.count("account")
    wrong = [row | ({"status": "lost"} if n % 100 == 0 else {}) for n, row in enumerate(rows)]
    body = bulk(api, "upsert", wrong, mode="per_record").json()
    assert (body["saved"], body["refused"]) == (9_900, 100)
    again = bulk(api, "upsert", rows)
    assert actions(again).count("created") == 100
    assert actions(again).count("unchanged") == 9_900
    assert served.count("account") == before + 10_000


def test_upserts_of_the_same_records_at_the_same_time_lose_nothing(served: Served):
    fields = ("name", "status", "pool_node")
    values: dict[str, object] = {"name": "Both", "status": "closed", "pool_node": True}

    def work(number: int) -> int:
        names = [f"SAME-{n:03}" for n in range(200)]
        if number % 2:
            names.reverse()
        field = fields[number % 3]
        rows = [{"external_id": one, "name": one, field: values[field]} for one in names]
        if field != "name":
            rows = [{"external_id": one, "name": "Both", field: values[field]} for one in names]
        with served.client() as api:
            return bulk(
                api, "upsert", rows, mode=("all_or_nothing", "per_record")[number % 2]
            ).status_code

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(12))) == [200] * 12
    with served.client() as api:
        found = api.get("/accounts", params={"external_id__contains": "SAME-", "limit": 1000})
    records = found.json()["records"]
    assert len(records) == 200
    for record in records:
        assert {name: record[name] for name in fields} == values


def test_the_same_call_again_is_answered_as_before(api: httpx.Client, key: dict[str, str]):
    body = {"operation": "create", "records": [account("ONCE-1")]}
    first = api.post("/accounts/bulk", json=body, headers=key)
    again = api.post("/accounts/bulk", json=body, headers=key)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
