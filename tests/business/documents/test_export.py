"""Invoices for other programs: exact, deterministic, and harmless in a spreadsheet."""

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

from counterfoil.business.documents.export import CSV_COLUMNS, invoice_csv, invoice_json


def test_one_row_per_line_under_a_header(make_invoice, make_line):
    lines = [make_line(site_name="Bergen, 1"), make_line(unit_amount=None, amount=Decimal(-1))]
    text = invoice_csv([make_invoice(lines)])
    assert text.endswith("\r\n") and "\n" not in text.replace("\r\n", "")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == list(CSV_COLUMNS)
    assert rows[0] == {
        "invoice_number": "INV-000482",
        "invoice_kind": "invoice",
        "invoice_state": "final",
        "invoice_date": "2026-11-01",
        "due_date": "2026-12-01",
        "account": "HALVORSEN",
        "bill_to_name": "Halvorsen ASA",
        "currency": "USD",
        "line": "1",
        "account_name": "Halvorsen",
        "site_name": "Bergen, 1",
        "product_name": "Conferencing",
        "description": "Premier dial-out",
        "service_start": "2026-10-01",
        "service_end": "2026-11-01",
        "quantity": "1846",
        "unit": "minute",
        "unit_amount": "0.22",
        "amount": "406.12",
    }
    assert (rows[1]["site_name"], rows[1]["unit_amount"], rows[1]["amount"]) == ("", "", "-1.00")


def test_a_text_that_looks_like_a_formula_is_disarmed(make_invoice, make_line):
    lines = [make_line(description=text) for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "a=b")]
    rows = list(csv.DictReader(io.StringIO(invoice_csv([make_invoice(lines)]), newline="")))
    assert [row["description"] for row in rows] == [
        "'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\tx", "a=b",
    ]  # fmt: skip


def test_json_keeps_decimals_as_exact_text(make_invoice, make_line):
    line = make_line(quantity=Decimal("0.000000000000001"), unit_amount=Decimal("0.0000004000"))
    content = json.loads(
        invoice_json(*make_invoice([line], finalized_at=datetime(2026, 11, 1, 8, tzinfo=UTC)))
    )
    assert content["total"] == "406.12"
    assert content["finalized_at"] == "2026-11-01T08:00:00Z"
    assert content["lines"][0]["quantity"] == "0.000000000000001"
    assert content["lines"][0]["unit_amount"] == "0.0000004"
    assert content["lines"][0]["position"] == 1
    assert content["bill_to"]["name"] == "Halvorsen ASA"
    assert "logo_svg" not in content["seller"]
    assert list(content["account"]) == ["external_id", "name"]


def test_the_same_invoice_gives_the_same_text(make_invoice):
    assert invoice_json(*make_invoice()) == invoice_json(*make_invoice())
    assert invoice_csv([make_invoice()]) == invoice_csv([make_invoice()])
