"""Bill runs, previews, documents and explanations over HTTP."""

from decimal import Decimal

import httpx
import pytest

BOOK = """
products: [{id: rooms, name: Rooms}]
meters: [{id: dial_out, name: Dial-out, unit: second, aggregation: sum}]
rate_plans:
  - id: standard
    product: rooms
    name: Standard
    charges:
      - {id: room, name: Managed room, kind: recurring, timing: in_advance, period: month,
         unit: room, prices: [{currency: EUR, model: per_unit, amount: 120.10}]}
      - {id: dial-out, name: Dial-out, kind: usage, meter: dial_out, event_increment: 60,
         unit: minute, unit_size: 60, prices: [{currency: EUR, model: per_unit, amount: 0.22}]}
"""
EVENT = {
    "specversion": "1.0",
    "id": "call-1",
    "source": "/bridges/fra-1",
    "type": "dial_out",
    "subject": "bridge-4711",
    "time": "2026-01-15T09:30:00Z",
    "data": {"quantity": 90},
}


@pytest.fixture(scope="module")
def billed(served) -> dict[str, object]:  # type: ignore[no-untyped-def]
    """The answer of a bill run of 1 February: two rooms in advance twice, and two minutes."""
    with served.client() as api:
        kind = {"content-type": "application/yaml"}
        api.post("/price-books", content=BOOK, headers=kind).raise_for_status()
        api.post("/sellers", json={"name": "Bridge GmbH"}).raise_for_status()
        account = api.post("/accounts", json={"external_id": "ACME", "name": "Acme"}).json()
        profile = {"account_id": account["id"], "currency": "EUR", "time_zone": "Europe/Berlin"}
        api.post("/billing-profiles", json=profile).raise_for_status()
        subscription = {
            "external_id": "S-1",
            "account": "ACME",
            "rate_plan": "standard",
            "start_date": "2026-01-01",
            "quantities": {"room": 2},
            "identifiers": ["bridge-4711"],
        }
        api.post("/subscriptions/activate", json=subscription).raise_for_status()
        api.post("/usage/events", json=EVENT).raise_for_status()
        preview = api.get("/accounts/ACME/preview", params={"billing_date": "2026-02-01"})
        run = api.post(
            "/bill-runs",
            json={"billing_date": "2026-02-01", "finalize": False},
            headers={"Idempotency-Key": "january"},
        )
    assert (preview.status_code, run.status_code) == (200, 200), preview.text + run.text
    return {"preview": preview.json(), "run": run.json()}


def test_the_preview_is_the_invoice(api: httpx.Client, billed: dict[str, dict]) -> None:  # type: ignore[type-arg]
    invoice = api.get("/invoices").json()["records"][0]
    lines = api.get("/invoice-lines", params={"sort": "position"}).json()["records"]
    preview = billed["preview"]
    assert preview["problems"] == []
    assert Decimal(preview["invoice"]["total"]) == Decimal(invoice["total"]) == Decimal("480.84")
    assert [line["amount"] for line in lines] == [line["amount"] for line in preview["lines"]]


def test_the_run_says_what_it_did_and_adds_nothing_again(
    api: httpx.Client,
    billed: dict[str, dict],  # type: ignore[type-arg]
) -> None:
    run = billed["run"]
    assert (run["accounts"], run["invoices"], run["totals"]) == (1, 1, {"EUR": "480.84"})
    again = api.post("/bill-runs", json={"billing_date": "2026-02-01"})
    assert again.json()["invoices"] == 0
    replayed = api.post(
        "/bill-runs",
        json={"billing_date": "2026-02-01", "finalize": False},
        headers={"Idempotency-Key": "january"},
    )
    assert replayed.json() == run
    assert replayed.headers["idempotency-replayed"] == "true"


def test_drafts_become_final_once(api: httpx.Client, billed: object) -> None:
    first = api.get("/invoices").json()["records"][0]
    finalized = api.post("/invoices/finalize", json={"invoice_ids": [first["id"]]})
    assert finalized.status_code == 200, finalized.text
    invoice = api.get(f"/invoices/{first['id']}").json()
    assert invoice["state"] == "final"
    assert invoice["number"].startswith("INV-")
    assert api.post("/invoices/finalize", json={}).json() == {
        "finalized": 0,
        "kept_back": 0,
        "waiting": 0,
    }


@pytest.mark.parametrize(
    ("suffix", "kind", "start"),
    [
        ("pdf", "application/pdf", b"%PDF-"),
        ("csv", "text/csv; charset=utf-8", b"invoice_number,"),
        ("json", "application/json", b"{"),
    ],
)
def test_documents(api: httpx.Client, billed: object, suffix: str, kind: str, start: bytes) -> None:
    document = api.get(f"/invoices/1/document.{suffix}")
    assert document.status_code == 200, document.text
    assert document.headers["content-type"] == kind
    assert document.content.startswith(start)
    assert api.get(f"/invoices/INV-404/document.{suffix}").status_code == 404


def test_every_line_explains_itself(api: httpx.Client, billed: object) -> None:
    for line in api.get("/invoice-lines").json()["records"]:
        explained = api.get(f"/invoice-lines/{line['id']}/explanation")
        assert explained.status_code == 200, explained.text
        assert explained.json()["line"]["amount"] == line["amount"]
        assert explained.json()["sentences"]
    assert api.get("/invoice-lines/999999/explanation").status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/accounts/ACME/preview", 422),
        ("/accounts/ACME/preview?billing_date=tomorrow", 422),
        ("/accounts/NOBODY/preview?billing_date=2026-02-01", 404),
    ],
)
def test_what_cannot_be_previewed(
    api: httpx.Client, billed: object, path: str, status: int
) -> None:
    assert api.get(path).status_code == status


@pytest.mark.parametrize(
    "body", [{}, {"billing_date": "soon"}, {"billing_date": "2026-02-01", "finalise": True}]
)
def test_what_is_no_bill_run(api: httpx.Client, body: dict[str, object]) -> None:
    assert api.post("/bill-runs", json=body).status_code == 422


def test_the_price_that_holds_is_explained(api: httpx.Client, billed: object) -> None:
    asked = {"account": "ACME", "charge": "dial-out", "subscription": "S-1", "date": "2026-03-01"}
    told = api.get("/price-explanations", params=asked).json()
    assert [(row["layer"], row["owner"], row["verdict"]) for row in told["layers"]] == [
        ("subscription", "S-1", "none"),
        ("account", "ACME", "none"),
        ("list", None, "wins"),
    ]
    assert told["tiers"][0]["unit_amount"] == "0.22"
    assert told["asked"]["day"] == "2026-03-01"


@pytest.mark.parametrize(
    ("asked", "status", "problem"),
    [
        ({"account": "ACME"}, 422, ("missing", "charge")),
        ({"account": "ACME", "charge": "seat"}, 404, ("unknown_charge", "charge")),
        ({"account": "ACME", "charge": "room", "date": "soon"}, 422, ("wrong_value", "date")),
        ({"account": "ACME", "charge": "room", "day": "1"}, 422, ("unknown_parameter", "day")),
    ],
)
def test_a_wrong_question_about_a_price_is_refused(
    api: httpx.Client,
    billed: object,
    asked: dict[str, str],
    status: int,
    problem: tuple[str, str],
) -> None:
    answer = api.get("/price-explanations", params=asked)
    assert answer.status_code == status
    (told,) = answer.json()["errors"]
    assert (told["code"], told["field"]) == problem
