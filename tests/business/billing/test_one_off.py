"""One-off invoices: lines of one's own, in one call."""

from datetime import date
from decimal import Decimal

import pytest
from tests.business.billing.conftest import NOW, Company

from counterfoil.business.billing.credit_notes import void_invoice
from counterfoil.business.billing.explanation import explain_line
from counterfoil.business.billing.manual_documents import Request
from counterfoil.business.billing.one_off import OneOffLine, bill_one_off
from counterfoil.core.problems import Refused

WORK = OneOffLine(description="Installation", unit_amount=Decimal("33.335"), quantity=Decimal(3))


def test_lines_are_billed_and_credited_like_others(company: Company) -> None:
    company.open_account("ACME")
    fee = OneOffLine(
        description="Licence",
        unit_amount=Decimal(500),
        product="conferencing",
        start=date(2024, 7, 1),
        end=date(2025, 7, 1),
    )
    with company.database.transaction(now=NOW) as uow:
        made = bill_one_off(uow, "ACME", [WORK, fee], Request(key="order-1"), purchase_order="PO 7")
        again = bill_one_off(
            uow, "ACME", [WORK, fee], Request(key="order-1"), purchase_order="PO 7"
        )
        assert again == made
        with pytest.raises(Refused, match="'order-1' was used already, for other lines"):
            bill_one_off(uow, "ACME", [WORK], Request(key="order-1"), purchase_order="PO 7")
        line = uow.find("invoice_line", invoice_id=made["id"], position=1)
        assert line is not None
        told = explain_line(uow, company.store, int(line["id"])).sentences
    assert (made["number"], made["total"]) == ("INV-000001", Decimal("600.01"))
    assert (made["due_date"], made["snapshot"]["purchase_order"]) == (date(2024, 7, 1), "PO 7")
    assert told == ("Entered by hand: 3 × 33.335 = 100.01 USD.",)
    with company.database.transaction(now=NOW) as uow:
        assert void_invoice(uow, "INV-000001", Request(reason="by mistake"))["total"] == Decimal(
            "-600.01"
        )


def test_what_is_wrong_is_refused_and_nothing_billed(company: Company) -> None:
    company.open_account("ACME")
    for account, lines, code in (
        ("NOBODY", [WORK], "unknown_account"),
        ("ACME", [], "required"),
        ("ACME", [OneOffLine(description="x", unit_amount=Decimal(1), product="no")],
         "unknown_product"),
        ("ACME", [OneOffLine(description="x", unit_amount=Decimal(1), site="no")], "unknown_site"),
        ("ACME", [OneOffLine(description=" ", unit_amount=Decimal(1))], "required"),
        ("ACME", [OneOffLine(description="x", unit_amount=Decimal(1), end=date(2020, 1, 1))],
         "ends_before_start"),
    ):  # fmt: skip
        with (
            pytest.raises(Refused) as refused,
            company.database.transaction(now=NOW) as uow,
        ):
            bill_one_off(uow, account, lines, Request())
        assert refused.value.problems[0].code == code
    assert list(company.counts()) == [0, 0, 0]
