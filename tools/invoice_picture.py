"""Draws docs/images/invoice.png, the invoice page of the README, from made-up data.

Run it after a change of the template: ``python tools/invoice_picture.py [FILE]``.
"""

import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

from counterfoil.business.documents.pdf import render_png
from counterfoil.platform.metadata import Record

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "invoice.png"
PIXELS_PER_INCH = 110.0

_LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 310 75">
<g fill="none" stroke-width="7" stroke-linecap="round">
<path d="M12 56 A26 26 0 1 1 56 56" stroke="#0b5d5e"/>
<path d="M22 56 A15 15 0 1 1 46 56" stroke="#2a9d8f"/></g>
<circle cx="34" cy="57" r="5.5" fill="#e9a23b"/>
<text x="76" y="47" font-family="Open Sans" font-size="32" font-weight="600"
 fill="#0b5d5e">Meridian</text>
<text x="77" y="66" font-family="Open Sans" font-size="13.5" letter-spacing="2.2"
 fill="#667080">CONFERENCING</text></svg>"""

_SITES: tuple[tuple[str, str | None, tuple[tuple[str, str, str, str | None], ...]], ...] = (
    ("Halvorsen Maritime Group", "Bergen, Bradbenken 1", (
        ("Managed room", "4", "room", "310"),
        ("Premier dial-out", "1846", "minute", "0.22"),
        ("Premier toll-free meet-me", "3120", "minute", "0.195"),
        ("Operator-attended call set-up", "2", "call", "300"),
    )),
    ("Halvorsen Maritime Group", "Thessaloniki, Λεωφόρος Νίκης", (
        ("Managed room", "1", "room", "310"),
        ("Standard toll meet-me", "906", "minute", "0.12"),
        ("Unattended toll-free", "14812", "minute", "tiers"),
    )),
    ("Halvorsen Offshore AS", "Aberdeen, Regent Quay", (
        ("Managed room, from 17 October", "2", "room", "days"),
        ("Unattended toll", "22504", "minute", "0.025"),
        ("Instant Meeting dial-out", "417", "minute", "0.0275"),
        ("Recording", "3", "event", "45"),
    )),
)  # fmt: skip


def example() -> tuple[Record, list[Record]]:
    """An invoice of two accounts and three sites, and its lines."""
    lines = [
        _line(position, account, site, item)
        for position, (account, site, item) in enumerate(
            ((account, site, item) for account, site, items in _SITES for item in items), start=1
        )
    ]
    total = sum((Decimal(str(line["amount"])) for line in lines), Decimal())
    invoice: Record = {
        "number": "INV-000482",
        "kind": "invoice",
        "state": "final",
        "currency": "USD",
        "invoice_date": date(2026, 11, 1),
        "due_date": date(2026, 12, 1),
        "finalized_at": None,
        "total": total,
        "snapshot": _snapshot(),
    }
    return invoice, lines


def _line(
    position: int, account: str, site: str | None, item: tuple[str, str, str, str | None]
) -> Record:
    description, quantity, unit, price = item
    line: Record = {
        "position": position,
        "account_name": account,
        "site_name": site,
        "product_name": "Conferencing",
        "description": description,
        "service_start": date(2026, 10, 1),
        "service_end": date(2026, 11, 1),
        "quantity": Decimal(quantity),
        "unit": unit,
        "unit_amount": None,
    }
    if price == "tiers":
        line["steps"] = [
            {"quantity": "10000", "unit_amount": "0.0275", "flat_amount": "0"},
            {"quantity": "4812", "unit_amount": "0.0225", "flat_amount": "0"},
        ]
        line["amount"] = Decimal("383.27")
    elif price == "days":
        line["service_start"] = date(2026, 10, 17)
        line["steps"] = [{"quantity": "2", "unit_amount": "310", "flat_amount": "0"}]
        line["days"], line["cycle_days"] = 15, 31
        line["unit_amount"] = Decimal(310)
        line["amount"] = Decimal("300.00")
    else:
        line["unit_amount"] = Decimal(str(price))
        line["amount"] = (Decimal(quantity) * Decimal(str(price))).quantize(Decimal("0.01"))
    return line


def _snapshot() -> dict[str, object]:
    return {
        "seller": {
            "name": "Meridian Conferencing Inc.",
            "street": "410 Harbor Street, Suite 900",
            "city": "Portland",
            "region": "ME",
            "postal_code": "04101",
            "country": "US",
            "tax_id": "01-7654321",
            "email": "billing@meridian.example",
            "phone": "+1 207 555 0142",
            "website": "meridian.example",
            "payment_instructions": "Bank transfer to First Harbor Bank, account 000 123 456 789"
            "\nRouting 011 200 365, SWIFT FHBKUS33XXX"
            "\nPlease quote the document number with your payment.",
            "logo_svg": _LOGO,
            "brand_color": "#0b5d5e",
        },
        "bill_to": {
            "name": "Halvorsen Maritime Group ASA",
            "attention": "Åse Sørensen, Accounts Payable",
            "street": "Bradbenken 1",
            "city": "Bergen",
            "postal_code": "5003",
            "country": "NO",
            "tax_id": "NO 987 654 325 MVA",
        },
        "account": {"external_id": "HALVORSEN", "name": "Halvorsen Maritime Group"},
        "paper": "a4",
        "template": "standard",
        "payment_terms_days": 30,
        "purchase_order": "PO-2026-0117",
        "time_zone": "Europe/Oslo",
        "language": "en",
    }


def main() -> None:
    """Write the picture to the file named, or to its place in docs/images/."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    invoice, lines = example()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(render_png(invoice, lines, pixels_per_inch=PIXELS_PER_INCH)[0])


if __name__ == "__main__":
    main()
