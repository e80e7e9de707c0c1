"""Invoices as plain values, shaped like the records of the billing room."""

from collections.abc import Callable
from copy import deepcopy
from datetime import date
from decimal import Decimal

import pytest

from counterfoil.platform.metadata import Record

SNAPSHOT: dict[str, object] = {
    "seller": {
        "name": "Meridian Conferencing Inc.",
        "street": "410 Harbor Street",
        "city": "Portland",
        "region": "ME",
        "postal_code": "04101",
        "country": "US",
        "tax_id": "01-7654321",
        "email": "billing@meridian.example",
        "phone": None,
        "website": "meridian.example",
        "payment_instructions": "Bank transfer to account 123\nSWIFT FHBKUS33",
        "logo_svg": None,
        "brand_color": "#0b5d5e",
    },
    "bill_to": {
        "name": "Halvorsen ASA",
        "attention": "Åse Sørensen",
        "street": "Bradbenken 1",
        "city": "Bergen",
        "region": None,
        "postal_code": "5003",
        "country": "NO",
        "tax_id": "NO 987",
    },
    "account": {"external_id": "HALVORSEN", "name": "Halvorsen"},
    "paper": "a4",
    "template": "standard",
    "payment_terms_days": 30,
    "purchase_order": "PO-7",
    "time_zone": "Europe/Oslo",
    "language": "en",
}

MakeLine = Callable[..., Record]
MakeInvoice = Callable[..., tuple[Record, list[Record]]]


@pytest.fixture
def make_line() -> MakeLine:
    """A line of October 2026; any field may be given."""

    def make(**fields: object) -> Record:
        return {
            "position": 1,
            "account_name": "Halvorsen",
            "site_name": None,
            "product_name": "Conferencing",
            "description": "Premier dial-out",
            "service_start": date(2026, 10, 1),
            "service_end": date(2026, 11, 1),
            "quantity": Decimal("1846.000000000000000"),
            "unit": "minute",
            "unit_amount": Decimal("0.2200000000"),
            "amount": Decimal("406.1200"),
            **fields,
        }

    return make


@pytest.fixture
def make_invoice(make_line: MakeLine) -> MakeInvoice:
    """A final invoice of these lines (one by default); ``snapshot`` and ``seller`` are merged."""

    def make(
        lines: list[Record] | None = None,
        *,
        snapshot: dict[str, object] | None = None,
        seller: dict[str, object] | None = None,
        **fields: object,
    ) -> tuple[Record, list[Record]]:
        lines = [make_line()] if lines is None else lines
        for position, line in enumerate(lines, start=1):
            line["position"] = position
        whole = {**deepcopy(SNAPSHOT), **(snapshot or {})}
        whole["seller"] = {**whole["seller"], **(seller or {})}  # type: ignore[dict-item]
        invoice: Record = {
            "id": 7,
            "number": "INV-000482",
            "kind": "invoice",
            "state": "final",
            "currency": "USD",
            "invoice_date": date(2026, 11, 1),
            "due_date": date(2026, 12, 1),
            "finalized_at": None,
            "total": sum((Decimal(str(line["amount"])) for line in lines), Decimal()),
            "snapshot": whole,
            **fields,
        }
        return invoice, lines

    return make
