"""Pages of invoices printed per second and core."""

import io
import time
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from pypdf import PdfReader

from counterfoil.business.documents.pdf import render_pdf
from counterfoil.platform.metadata import Record

LINES = 60
_SITES = ("Bergen, Bradbenken 1", "Aberdeen, Regent Quay", "Thessaloniki, Leoforos Nikis")
_CHARGES = (
    ("Managed room", "room", "310"),
    ("Premier dial-out", "minute", "0.22"),
    ("Premier toll-free meet-me", "minute", "0.195"),
    ("Standard toll meet-me", "minute", "0.12"),
    ("Unattended toll-free", "minute", "0.0275"),
)


@dataclass(frozen=True, slots=True)
class PrintingResult:
    """Pages and seconds of one process: by the clock, and of processor time."""

    invoices: int
    pages: int
    seconds: float
    cpu_seconds: float

    @property
    def pages_per_second_and_core(self) -> float:
        """The clock counts too, where it ran longer than the processor worked."""
        return self.pages / max(self.seconds, self.cpu_seconds)


def measure_printing(invoices: int) -> PrintingResult:
    """Print so many invoices of 60 lines, no two alike; the first, which warms up, apart."""
    lines = [_line(position) for position in range(1, LINES + 1)]
    pages = len(PdfReader(io.BytesIO(render_pdf(_invoice(0, lines), lines))).pages)
    result = PrintingResult(invoices, pages * invoices, 0, 0)
    documents = [(_invoice(number, lines), lines) for number in range(1, invoices + 1)]
    begin, begin_cpu = time.perf_counter(), time.process_time()
    for invoice, of_invoice in documents:
        render_pdf(invoice, of_invoice)
    cpu_seconds = time.process_time() - begin_cpu
    return replace(result, seconds=time.perf_counter() - begin, cpu_seconds=cpu_seconds)


def _line(position: int) -> Record:
    description, unit, price = _CHARGES[position % len(_CHARGES)]
    quantity = Decimal(position * 37 % 4000 + 1)
    return {
        "position": position,
        "account_name": f"Halvorsen Division {position // 21 + 1}",
        "site_name": _SITES[position // 7 % 3],
        "product_name": "Conferencing",
        "description": description,
        "service_start": date(2026, 10, 1),
        "service_end": date(2026, 11, 1),
        "quantity": quantity,
        "unit": unit,
        "unit_amount": Decimal(price),
        "amount": (quantity * Decimal(price)).quantize(Decimal("0.01")),
    }


def _invoice(number: int, lines: list[Record]) -> Record:
    total = sum((Decimal(str(line["amount"])) for line in lines), Decimal())
    return {
        "number": f"INV-{number:06}",
        "kind": "invoice",
        "state": "final",
        "currency": "USD",
        "invoice_date": date(2026, 11, 1),
        "due_date": date(2026, 12, 1),
        "finalized_at": None,
        "total": total,
        "snapshot": {
            "seller": {
                "name": "Meridian Conferencing Inc.",
                "street": "410 Harbor Street",
                "city": "Portland",
                "country": "US",
                "brand_color": "#0b5d5e",
            },
            "bill_to": {"name": f"Customer {number}", "city": "Bergen", "country": "NO"},
            "account": {"external_id": f"A{number}", "name": f"Customer {number}"},
            "paper": "a4",
            "template": "standard",
            "payment_terms_days": 30,
            "purchase_order": None,
            "time_zone": "Europe/Oslo",
            "language": "en",
        },
    }
