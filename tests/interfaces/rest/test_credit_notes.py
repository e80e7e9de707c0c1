"""Credit notes, voids and debit notes over HTTP: who may, what is refused, what is repeated."""

from datetime import UTC, date, datetime

import httpx
import pytest
from tests.business.billing.conftest import Company
from tests.interfaces.rest.conftest import NUMBERS, Served

NOW = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture
def invoice(served: Served) -> int:
    """The id of a final invoice of 249.95 USD with one line."""
    company = Company(served.organisation)
    if not served.count("rate_plan"):
        company.load_prices()
    name = f"A{next(NUMBERS)}"
    account = company.open_account(name)
    company.subscribe(f"S-{name}", name, "rooms", date(2024, 1, 1))
    company.bill(date(2024, 1, 1), accounts=[account])
    with company.database.transaction(now=NOW) as uow:
        found = uow.find("invoice", account_id=account)
    assert found is not None
    return int(found["id"])


def test_a_line_is_credited_in_part_and_the_rest_voided(api: httpx.Client, invoice: int) -> None:
    body = {"reason": "Down", "lines": [{"line": 1, "amount": "10.00"}]}
    note = api.post(f"/invoices/{invoice}/credit", json=body)
    assert note.status_code == 201
    assert (note.json()["kind"], note.json()["total"]) == ("credit_note", "-10")
    assert note.json()["corrects_id"] == invoice
    void = api.post(f"/invoices/{invoice}/void", json={"reason": "Wrong customer"})
    assert void.json()["total"] == "-239.95"
    again = api.post(f"/invoices/{invoice}/void", json={"reason": "Wrong customer"})
    assert again.json()["id"] == void.json()["id"]
    pdf = api.get(f"/invoices/{void.json()['id']}/document.pdf")
    assert pdf.content.startswith(b"%PDF")
    text = api.get(f"/invoices/{void.json()['id']}/document.json").json()
    assert (text["reason"], text["lines"][0]["amount"]) == ("Wrong customer", "-239.95")


def test_the_same_key_makes_one_credit_note(
    api: httpx.Client, served: Served, invoice: int
) -> None:
    headers = {"Idempotency-Key": f"credit-{invoice}"}
    answers = [
        api.post(
            f"/invoices/{invoice}/credit", json={"reason": "x", "amount": "1"}, headers=headers
        )
        for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "required"),
        ({"reason": ""}, 422, "required"),
        ({"reason": " \n"}, 422, "required"),
        ({"reason": "x", "amount": "249.96"}, 409, "not_enough_left"),
        ({"reason": "x", "lines": [1]}, 422, "not_a_list"),
        ({"reason": "x", "lines": [{"line": 9}]}, 422, "unknown_line"),
        ({"reason": "x", "lines": [{"line": 1, "service_start": "2024-01-02"}]}, 422, "bad_choice"),
        (
            {"reason": "x", "lines": [{"line": 1, "amount": "1", "quantity": "1"}]},
            422,
            "bad_choice",
        ),
        ({"reason": "x", "lines": [{"line": 1}], "amount": "1"}, 422, "bad_choice"),
    ],
)
def test_what_is_wrong_is_refused_and_changes_nothing(
    api: httpx.Client,
    served: Served,
    invoice: int,
    body: dict[str, object],
    status: int,
    code: str,
) -> None:
    before = served.count("invoice")
    answer = api.post(f"/invoices/{invoice}/credit", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code)
    assert served.count("invoice") == before


def test_a_debit_note_is_a_document_of_its_own(api: httpx.Client, invoice: int) -> None:
    body = {"reason": "Two more", "lines": [{"line": 1, "quantity": "2"}]}
    note = api.post(f"/invoices/{invoice}/debit", json=body).json()
    assert (note["kind"], note["total"]) == ("debit_note", "499.9")
    pdf = api.get(f"/invoices/{note['id']}/document.pdf")
    assert pdf.status_code == 200


def test_without_a_token_nothing_is_credited(served: Served, invoice: int) -> None:
    before = served.count("invoice")
    with served.client(token=None) as nobody:
        answer = nobody.post(f"/invoices/{invoice}/credit", json={"reason": "x"})
    assert answer.status_code == 401
    assert served.count("invoice") == before


def test_an_invoice_is_reissued_and_lines_are_billed_by_hand(
    api: httpx.Client, served: Served, invoice: int
) -> None:
    again = api.post(f"/invoices/{invoice}/reissue", json={"reason": "Wrong address"})
    assert (again.status_code, again.json()["total"]) == (201, "249.95")
    account = api.get(f"/accounts/{again.json()['account_id']}").json()["external_id"]
    lines = [{"description": "Installation", "quantity": "2.5", "unit_amount": "120"}]
    made = api.post("/invoices/one-off", json={"account": account, "lines": lines})
    assert (made.status_code, made.json()["total"]) == (201, "300")
    assert api.get(f"/accounts/{account}/balance").json()["balance"] == "549.95"
    before = served.count("invoice")
    wrong = api.post("/invoices/one-off", json={"account": account, "lines": [{}]})
    assert wrong.status_code == 422
    assert served.count("invoice") == before


def test_an_invoice_is_billed_anew_and_shown_before(
    api: httpx.Client, served: Served, invoice: int
) -> None:
    before = served.count("invoice")
    path = f"/invoices/{invoice}/reissue-rated-again"
    shown = api.post(path, json={"reason": "Wrong price", "preview": True})
    assert shown.status_code == 200
    assert [row["difference"] for row in shown.json()["differences"]] == ["0"]
    assert served.count("invoice") == before
    made = api.post(path, json={"reason": "Wrong price"})
    assert made.status_code == 201
    assert made.json()["credit_note"]["total"] == "-249.95"
    assert made.json()["invoice"]["total"] == "249.95"
    assert api.post(path, json={"reason": "x"}).json()["invoice"] == made.json()["invoice"]
    assert api.post(path, json={}).status_code == 422
    assert served.count("invoice") == before + 2
