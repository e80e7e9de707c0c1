"""Jobs over REST: asked for once for each key, read as records, decided, and not by everybody."""

import httpx
from tests.interfaces.rest.conftest import Served
from tests.interfaces.rest.test_sales import caller

from counterfoil.bootstrap import open_worker


def test_a_job_is_asked_for_and_done(
    served: Served, api: httpx.Client, key: dict[str, str]
) -> None:
    job = {"kind": "refresh_drafts", "key": "month-end", "time_zone": "Europe/Berlin"}
    asked = [api.post("/jobs", json=job, headers=key) for _ in range(2)]
    assert [one.status_code for one in asked] == [202, 202]
    assert asked[0].json() == asked[1].json()
    assert asked[0].headers["location"] == f"/api/v1/jobs/{asked[0].json()['id']}"
    assert api.post("/jobs", json=job).json()["id"] == asked[0].json()["id"]
    open_worker(served.organisation).run_due()
    done = api.get("/jobs", params={"kind": "refresh_drafts"}).json()["records"][0]
    assert (done["state"], done["origin"]) == ("done", "rest")
    assert done["result"] == {"drafts": 0, "finalized": 0}


def test_what_is_wrong_is_refused_with_what_is_allowed(api: httpx.Client) -> None:
    unknown = api.post("/jobs", json={"kind": "run_bill"})
    assert unknown.status_code == 422
    assert "run_bills" in unknown.json()["errors"][0]["allowed"]
    wrong = api.post("/jobs", json={"kind": "run_bills", "payload": {"billing_date": "soon"}})
    assert [one["field"] for one in wrong.json()["errors"]] == ["payload.billing_date"]
    assert api.post("/jobs", json={"kind": "run_bills", "payload": []}).status_code == 422
    kinds = api.get("/job-kinds").json()["kinds"]
    payload = next(one["payload"] for one in kinds if one["kind"] == "run_bills")
    assert set(payload["properties"]) == {"billing_date", "account", "finalize"}


def test_a_job_is_cancelled_and_made_due_again(api: httpx.Client) -> None:
    later = {"kind": "clean_up", "not_before": "2100-01-01T00:00:00Z"}
    job = api.post("/jobs", json=later).json()
    path = f"/jobs/{job['id']}"
    assert api.post(f"{path}/cancel").json()["state"] == "cancelled"
    assert api.post(f"{path}/cancel").status_code == 409
    again = api.post(f"{path}/retry").json()
    assert (again["state"], again["due_at"] < job["due_at"]) == ("waiting", True)
    assert api.post("/jobs/999/retry").status_code == 404
    assert api.patch(path, json={"state": "done"}).status_code in (403, 405, 409, 422)
    assert api.get(path).json()["state"] == "waiting"


def test_a_schedule_is_a_record(api: httpx.Client) -> None:
    nightly = {"external_id": "nightly", "kind": "run_bills", "at": "30 2 * * *"}
    made = api.post("/job-schedules", json=nightly)
    assert (made.status_code, made.json()["next_at"][10:]) == (201, "T02:30:00Z")
    path = f"/job-schedules/{made.json()['id']}"
    assert api.patch(path, json={"active": False}).json()["next_at"] is None
    wrong = api.patch(path, json={"at": "daily"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "at")


def test_who_asks_for_jobs_gets_those_done_that_are_granted(
    served: Served, api: httpx.Client
) -> None:
    with caller(served, api, "enqueue_jobs", "finalize_invoices", may_create=True) as clerk:
        for entity in ("job", "job_schedule"):
            role = api.get("/access-roles", params={"sort": "-id"}).json()["records"][0]["id"]
            grant = {"access_role_id": role, "entity": entity, "may_create": True}
            assert api.post("/access-grants", json=grant).status_code == 201
        before = served.count("job"), served.count("job_schedule")
        for kind in ("run_bills", "clean_up", "advance_order", "export_records"):
            payload = {"advance_order": {"order": 1}, "export_records": {"entity": "access_user"}}
            body = {"kind": kind, "payload": payload.get(kind, {})}
            refused = clerk.post("/jobs", json=body)
            assert refused.status_code == 403
            assert (
                refused.json()["errors"][0]["message"]
                == f"your roles do not let you ask for {kind}"
            )
            schedule = {**body, "external_id": "mine", "at": "30 2 * * *"}
            refused = clerk.post("/job-schedules", json=schedule)
            assert refused.json()["errors"][0]["code"] == "not_granted"
        assert (served.count("job"), served.count("job_schedule")) == before
        kinds = [one["kind"] for one in clerk.get("/job-kinds").json()["kinds"]]
        assert kinds == ["finalize_invoices"]
        later = {"kind": "finalize_invoices", "not_before": "2100-01-01T00:00:00Z", "key": "K"}
        assert clerk.post("/jobs", json=later).status_code == 202
        schedule = {"external_id": "mine", "kind": "finalize_invoices", "at": "30 2 * * *"}
        assert clerk.post("/job-schedules", json=schedule).status_code == 201
        standing = api.post("/jobs", json=later)
        assert standing.json()["errors"][0]["code"] == "other_job"


def test_who_was_not_granted_it_asks_for_nothing(served: Served, api: httpx.Client) -> None:
    before = served.count("job"), served.count("job_schedule")
    waiting = api.post("/jobs", json={"kind": "clean_up", "not_before": "2100-01-01T00:00:00Z"})
    path = f"/jobs/{waiting.json()['id']}"
    with caller(served, api, "run_bills", may_create=True, may_update=True) as clerk:
        assert clerk.post("/jobs", json={"kind": "run_bills"}).status_code == 403
        assert clerk.get("/job-kinds").status_code == 403
        for decision in ("retry", "cancel"):
            assert clerk.post(f"{path}/{decision}").status_code == 403
        assert clerk.get("/jobs").status_code == 404
        schedule = {"external_id": "x", "kind": "run_bills", "at": "30 2 * * *"}
        assert clerk.post("/job-schedules", json=schedule).status_code == 404
    with caller(served, api, "enqueue_jobs", "cancel_jobs") as asker:
        assert asker.post(f"{path}/cancel").status_code == 404, "jobs are not granted to be read"
    assert (served.count("job"), served.count("job_schedule")) == (before[0] + 1, before[1])
    assert api.get(path).json()["state"] == "waiting"
