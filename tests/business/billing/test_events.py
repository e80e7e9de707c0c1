"""The billing room tells of invoices that are final and of bill runs that have finished."""

from datetime import date

from tests.business.billing.conftest import NOW, Company

from counterfoil.business.billing.commands import discard_drafts
from counterfoil.business.billing.finalizing import finalize_invoices

JAN = date(2024, 1, 1)


def listen(company: Company) -> None:
    rule = {"external_id": "CLERK", "email": "clerk@seller.example", "event_types": ["*"]}
    with company.database.transaction(now=NOW) as uow:
        uow.create("mail_rule", rule)


def told(company: Company) -> list[tuple[object, ...]]:
    with company.database.transaction(now=NOW) as uow:
        rows = uow.query("SELECT type, subject, data FROM outgoing_event ORDER BY id")
    return [tuple(row.values()) for row in rows]


def test_a_bill_run_tells_each_invoice_and_then_itself(company: Company) -> None:
    listen(company)
    for name in ("ACME", "BOLT"):
        company.open_account(name)
        company.subscribe(f"R-{name}", name, "rooms", JAN)
    company.bill(JAN)
    with company.database.transaction(now=NOW) as uow:
        invoices = uow.query("SELECT id, number, trim_scale(total)::text AS total FROM invoice")
    first, second, run = told(company)
    assert [first[1], second[1]] == [f"invoices/{row['id']}" for row in invoices]
    assert first[::2] == (
        "invoice.finalized",
        {
            "invoice_id": invoices[0]["id"],
            "number": "INV-000001",
            "kind": "invoice",
            "account": "ACME",
            "currency": "USD",
            "total": invoices[0]["total"],
            "invoice_date": "2024-01-01",
            "due_date": "2024-01-31",
        },
    )
    assert run[0] == "bill_run.finished"
    assert run[2]["invoices"] == 2  # type: ignore[index]
    assert run[2]["billing_date"] == "2024-01-01"  # type: ignore[index]
    assert company.bill(JAN).invoices == 0
    assert [event[0] for event in told(company)[3:]] == ["bill_run.finished"]


def test_a_draft_is_told_when_it_becomes_final_and_a_discarded_one_never(company: Company) -> None:
    listen(company)
    company.open_account("ACME")
    company.subscribe("R-ACME", "ACME", "rooms", JAN)
    company.bill(JAN, finalize=False)
    discard_drafts(company.database, now=NOW)
    company.bill(JAN, finalize=False)
    assert {event[0] for event in told(company)} == {"bill_run.finished"}
    assert finalize_invoices(company.database, now=NOW).final == 1
    assert finalize_invoices(company.database, now=NOW).final == 0
    assert [event[0] for event in told(company)].count("invoice.finalized") == 1


def test_where_nobody_listens_invoices_are_not_told(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("R-ACME", "ACME", "rooms", JAN)
    assert company.bill(JAN).invoices == 1
    assert [event[0] for event in told(company)] == ["bill_run.finished"]
