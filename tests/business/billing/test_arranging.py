"""Drafts merged and split by hand, approved and refused."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.business.billing.conftest import NOW, Company

from counterfoil.business.billing.approving import approve_drafts, refuse_drafts, waiting_drafts
from counterfoil.business.billing.arranging import merge_drafts, split_draft
from counterfoil.business.billing.drafts import refresh_drafts
from counterfoil.business.billing.finalizing import finalize_invoices
from counterfoil.business.billing.manual_documents import Request
from counterfoil.business.billing.one_off import OneOffLine, bill_one_off
from counterfoil.business.incentives.commands import save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.core.problems import Refused

MAY, JUNE, JULY = date(2024, 5, 1), date(2024, 6, 1), date(2024, 7, 1)
ROOM = Decimal("249.95")


def documents(company: Company) -> list[tuple[object, ...]]:
    with company.database.transaction(now=NOW) as uow:
        rows = uow.query(
            "SELECT i.id, i.state, i.number, i.kind, i.total, count(l.id) AS lines, "
            "min(l.position) AS first, max(l.position) AS last, sum(l.amount) AS sum "
            "FROM invoice i JOIN invoice_line l ON l.invoice_id = i.id GROUP BY i.id ORDER BY i.id"
        )
    for row in rows:
        assert (row["first"], row["last"]) == (1, row["lines"])
        assert row["total"] == row["sum"]
    return [(row["state"], row["number"], row["kind"], row["total"], row["lines"]) for row in rows]


def ids(company: Company) -> list[int]:
    with company.database.transaction(now=NOW) as uow:
        rows = uow.query("SELECT id FROM invoice WHERE state = 'draft' ORDER BY id")
    return [int(row["id"]) for row in rows]


def merge(company: Company, drafts: Sequence[int]) -> None:
    with company.database.transaction(now=NOW) as uow:
        merge_drafts(uow, drafts)


def split(company: Company, draft: int, *positions: int, **more: str) -> None:
    with company.database.transaction(now=NOW) as uow:
        split_draft(uow, draft, positions, **more)


def grant(company: Company, account: str, amount: str) -> None:
    text = (
        f"grants: [{{id: gift-{account}, account: {account}, currency: USD, amount: {amount}, "
        "start: 2024-01-01}]"
    )
    book, problems = parse_incentives(text, "incentives.yaml")
    assert problems == []
    with company.database.transaction(now=NOW) as uow:
        save_incentives(uow, book)


def test_drafts_are_split_and_merged_without_changing_an_amount(company: Company) -> None:
    company.open_account("ACME")
    grant(company, "ACME", "400.00")
    for name in ("S-1", "S-2", "S-3"):
        company.subscribe(name, "ACME", "rooms", MAY)
    company.bill(MAY, finalize=False)
    (draft,) = ids(company)
    assert documents(company) == [("draft", None, "invoice", Decimal("349.85"), 4)]
    with pytest.raises(Refused) as refused:
        split(company, draft, 1, 2, 3)
    assert refused.value.problems[0].code == "nothing_left"
    with pytest.raises(Refused) as refused:
        split(company, draft, 4)
    assert refused.value.problems[0].code == "unknown_line"
    split(company, draft, 2, 3, purchase_order="PO-7")
    # What stays comes to 249.95, which the balance pays; the rest of it pays the other.
    assert documents(company) == [
        ("draft", None, "invoice", Decimal(0), 2),
        ("draft", None, "invoice", Decimal("349.85"), 3),
    ]
    assert company.bill(JUNE).problems[0][1] == "open_draft"
    with company.database.transaction(now=NOW) as uow:
        bill_one_off(
            uow,
            "ACME",
            [OneOffLine(description="Cabling", unit_amount=Decimal(80))],
            Request(finalize=False),
        )
    first, second, one_off = ids(company)
    merge(company, [second, one_off, first])
    assert documents(company) == [("draft", None, "invoice", Decimal("429.85"), 6)]
    with company.database.transaction(now=NOW) as uow:
        merged = uow.get("invoice", second)
        assert merged["purchase_order"] == "PO-7"
        assert [row["kind"] for row in uow.query(
            "SELECT r.kind FROM invoice_line l JOIN rated_charge r ON r.id = l.rated_charge_id "
            "ORDER BY l.position"
        )][-2:] == ["prepaid", "prepaid"]  # fmt: skip
    refresh_drafts(company.database, company.store, now=NOW, today=MAY)
    assert documents(company) == [("final", "INV-000001", "invoice", Decimal("429.85"), 6)]
    assert company.bill(MAY).lines == 0


def test_drafts_of_a_tree_are_merged_for_one_payer(company: Company) -> None:
    top = company.open_account("TOP")
    with company.database.transaction(now=NOW) as uow:
        below = uow.create("account", {"external_id": "EAST", "name": "East", "parent_id": top})
        uow.create("billing_profile", {"account_id": below["id"], "currency": "USD"})
    company.open_account("OTHER")
    for name, account in (("T", "TOP"), ("E", "EAST"), ("O", "OTHER")):
        company.subscribe(name, account, "rooms", MAY)
    company.bill(MAY, finalize=False)
    of_top, of_east, of_other = ids(company)
    with pytest.raises(Refused) as refused:
        merge(company, [of_top, of_other])
    assert (refused.value.problems[0].code, refused.value.status) == ("not_mergeable", 409)
    with pytest.raises(Refused):
        merge(company, [of_top])
    merge(company, [of_top, of_east])
    assert [row[3] for row in documents(company)] == [2 * ROOM, ROOM]
    # EAST stands on a draft, so it is not billed further, and nothing of it is lost.
    problems = company.bill(JUNE, finalize=False).problems
    assert {code for _, code, _ in problems} == {"open_draft"}
    assert len(problems) == 3
    with company.database.transaction(now=NOW) as uow:
        assert refuse_drafts(uow, [of_top], "wrong payer") == 1
    assert company.bill(JUNE).totals == {"USD": 4 * ROOM}
    with pytest.raises(Refused) as refused:
        merge(company, [of_top, of_other])
    assert refused.value.status == 404
    assert finalize_invoices(company.database, now=NOW).final == 1
    with pytest.raises(Refused) as refused:
        split(company, of_other, 1)
    assert refused.value.problems[0].code == "not_a_draft"


def test_what_needs_approval_is_not_final_before(company: Company) -> None:
    company.open_account("SMALL", approval="above", approval_above=Decimal(300))
    company.open_account("LARGE", approval="above", approval_above=Decimal(300))
    company.subscribe("S", "SMALL", "rooms", MAY)
    company.subscribe("L", "LARGE", "rooms", MAY, quantities={"room": Decimal(2)})
    usage = company.subscribe("U", "LARGE", "minutes", date(2024, 4, 1))
    company.use(usage, ("a", datetime(2024, 4, 9, tzinfo=UTC), "600"))
    company.bill(MAY)
    assert [row[:4] for row in documents(company)] == [
        ("final", "INV-000001", "invoice", ROOM),
        ("draft", None, "invoice", Decimal("501.66")),
    ]
    (draft,) = ids(company)
    assert finalize_invoices(company.database, now=NOW).waiting == 1
    with pytest.raises(Refused) as refused:
        finalize_invoices(company.database, now=NOW, invoice_ids=[draft])
    assert (refused.value.problems[0].code, refused.value.status) == ("not_approved", 409)
    done = refresh_drafts(company.database, company.store, now=NOW, today=JUNE)
    assert (done.drafts, done.finalized, done.waiting) == (1, 0, 1)
    (draft,) = ids(company)
    with company.database.transaction(now=NOW) as uow:
        assert [row["account"] for row in waiting_drafts(uow)] == ["LARGE"]
        assert refuse_drafts(uow, [draft], "who ordered two?") == 1
        assert uow.query("SELECT message FROM billing_problem WHERE code = 'draft_refused'") == [
            {"message": f"{uow.actor} refused the draft of 501.6600 USD: who ordered two?"}
        ]
    company.bill(MAY)
    (draft,) = ids(company)
    with company.database.transaction(now=NOW, actor="ada") as uow:
        approve_drafts(uow, [draft])
    with company.database.transaction(now=NOW, actor="bob") as uow:
        (approved,) = approve_drafts(uow, [draft])
    with pytest.raises(Refused) as said, company.database.transaction(now=NOW) as uow:
        refuse_drafts(uow, [draft], " ")
    assert said.value.problems[0].code == "required"
    assert (approved["approved_by"], approved["approved_at"]) == ("ada", NOW)
    # What was approved is what becomes final: late usage is for the next invoice.
    company.use(usage, ("b", datetime(2024, 4, 10, tzinfo=UTC), "600"))
    done = refresh_drafts(company.database, company.store, now=NOW, today=JUNE)
    assert (done.drafts, done.finalized, done.waiting) == (0, 1, 0)
    assert [row[1] for row in documents(company)] == ["INV-000001", "INV-000002"]
    with pytest.raises(Refused) as refused, company.database.transaction(now=NOW) as uow:
        refuse_drafts(uow, [draft], "too late")
    assert refused.value.status == 409
    company.bill(MAY)
    assert [row[3] for row in documents(company)][-1] == Decimal("2.04")


def test_the_seller_may_want_everything_approved(company: Company) -> None:
    with company.database.transaction(now=NOW) as uow:
        uow.create("seller", {"name": "We", "approval": "all"})
    company.open_account("ACME")
    company.open_account("FREE", approval="none")
    line = OneOffLine(description="Cabling", unit_amount=Decimal(80))
    with company.database.transaction(now=NOW) as uow:
        assert bill_one_off(uow, "FREE", [line], Request())["state"] == "final"
        waits = bill_one_off(uow, "ACME", [line], Request())
        assert waits["state"] == "draft"
        approve_drafts(uow, [int(waits["id"])])
    # Changed after it was approved, it has to be approved again.
    with company.database.transaction(now=NOW) as uow:
        other = bill_one_off(uow, "ACME", [line], Request())
        merge_drafts(uow, [int(waits["id"]), int(other["id"])])
    assert finalize_invoices(company.database, now=NOW).waiting == 1
    with company.database.transaction(now=NOW) as uow:
        approve_drafts(uow, [int(waits["id"])])
    assert finalize_invoices(company.database, now=NOW).final == 1
