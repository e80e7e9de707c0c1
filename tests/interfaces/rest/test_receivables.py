"""Payments, balances and ageing over HTTP: who may, what is refused, what is repeated."""

from datetime import UTC, date, datetime

import httpx
import pytest
from tests.business.billing.conftest import Company
from tests.interfaces.rest.conftest import NUMBERS, Served

NOW = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture
def account(served: Served) -> str:
    """An account with a final invoice of 249.95 USD."""
    company = Company(served.organisation)
    if not served.count("rate_plan"):
        company.load_prices()
    name = f"A{next(NUMBERS)}"
    billed = company.open_account(name)
    company.subscribe(f"S-{name}", name, "rooms", date(2024, 1, 1))
    company.bill(date(2024, 1, 1), accounts=[billed])
    return name


def invoice_of(api: httpx.Client, account: str) -> dict[str, object]:
    (document,) = api.get(f"/accounts/{account}/balance").json()["documents"]
    return dict(document)


def test_a_bill_becomes_paid(api: httpx.Client, account: str) -> None:
    invoice = invoice_of(api, account)
    assert (invoice["payment_state"], invoice["open"]) == ("open", "249.95")
    body = {"account": account, "amount": "300", "reference": "DE-1", "request_key": account}
    payment = api.post("/payments", json=body)
    assert payment.status_code == 201
    again = api.post("/payments", json=body)
    assert again.json()["id"] == payment.json()["id"]
    found = api.get(f"/accounts/{account}/balance").json()
    assert (found["documents"], found["credit"], found["balance"]) == ([], "50.05", "-50.05")
    refund = api.post(f"/payments/{payment.json()['id']}/refund", json={"reason": "overpaid"})
    assert (refund.status_code, refund.json()["amount"]) == (201, "50.05")
    undone = api.post(f"/payments/{payment.json()['id']}/unallocate", json={})
    assert undone.json()["undone"][0]["amount"] == "-249.95"
    chosen = {"allocations": [{"invoice": invoice["number"], "amount": "100"}]}
    made = api.post(f"/payments/{payment.json()['id']}/allocate", json=chosen)
    assert made.json()["allocations"][0]["amount"] == "100"
    assert invoice_of(api, account)["open"] == "149.95"


def test_an_invoice_is_credited_and_written_off(api: httpx.Client, account: str) -> None:
    invoice = invoice_of(api, account)
    api.post(f"/invoices/{invoice['id']}/credit", json={"reason": "Down", "amount": "49.95"})
    assert invoice_of(api, account)["open"] == "200"
    too_much = api.post(
        f"/invoices/{invoice['id']}/write-off", json={"reason": "x", "amount": "200.01"}
    )
    assert (too_much.status_code, too_much.json()["errors"][0]["code"]) == (409, "not_enough_left")
    written = api.post(f"/invoices/{invoice['id']}/write-off", json={"reason": "Bankrupt"})
    assert written.json()["amount"] == "200"
    assert api.get(f"/accounts/{account}/balance").json()["balance"] == "0"


def test_statement_and_ageing(api: httpx.Client, account: str) -> None:
    days = {"start": "2024-01-01", "end": "2024-02-01"}
    statement = api.get(f"/accounts/{account}/statement", params=days).json()
    assert (statement["opening"], statement["closing"]) == ("0", "249.95")
    assert [entry["entry"] for entry in statement["entries"]] == ["invoice"]
    ageing = api.get("/ageing", params={"as_of": "2024-02-15"}).json()
    row = next(row for row in ageing["accounts"] if row["account"] == account)
    assert (row["days_1_30"], row["balance"]) == ("249.95", "249.95")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"amount": "1"}, 422, "required"),
        ({"account": "NOBODY", "amount": "1"}, 404, "unknown_account"),
        ({"account": "{}", "amount": "-1"}, 422, "too_small"),
        ({"account": "{}", "amount": "1", "method": "gold"}, 422, "unknown_choice"),
        (
            {"account": "{}", "amount": "1", "allocations": [{"invoice": "X"}]},
            404,
            "unknown_invoice",
        ),
        ({"account": "{}", "amount": "1", "allocations": [1]}, 422, "not_a_list"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_recorded(
    api: httpx.Client,
    served: Served,
    account: str,
    body: dict[str, object],
    status: int,
    code: str,
) -> None:
    before = served.count("payment")
    given = {name: account if value == "{}" else value for name, value in body.items()}
    answer = api.post("/payments", json=given)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code)
    assert served.count("payment") == before


def test_without_a_grant_nothing_is_told_or_recorded(served: Served, account: str) -> None:
    with served.client(token=None) as nobody:
        answers = [
            nobody.post("/payments", json={"account": account, "amount": "1"}),
            nobody.get(f"/accounts/{account}/balance"),
            nobody.get("/ageing"),
        ]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
