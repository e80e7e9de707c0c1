"""Documents that someone asked for, stored like those of a bill run: draft, then final."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import cast
from zoneinfo import ZoneInfo

import pyarrow as pa

from counterfoil.business.billing.commands import lock_accounts
from counterfoil.business.billing.finalizing import finalize_drafts
from counterfoil.business.billing.loading import load_profiles
from counterfoil.business.billing.queries import read_invoice
from counterfoil.business.billing.request_keys import find_made, kept_of_request
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.exact_json import decode_json
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What all documents made by hand are asked for with.

    ``key`` is the caller's name of the request: asked again, the first answer stands.
    ``on`` is the document's date, today at the account where it is None. ``more`` is what else
    is asked for: what has to be the same when it is asked for again.
    """

    reason: str | None = None
    on: date | None = None
    finalize: bool = True
    key: str | None = None
    more: Mapping[str, object] = field(default_factory=dict)

    def asking(self, **more: object) -> "Request":
        """The request with what else it asks for."""
        return replace(self, more=more)

    def kept(self) -> Record:
        """What a document keeps of the request that made it."""
        said = {**self.more, "reason": self.reason, "date": self.on, "finalize": self.finalize}
        return kept_of_request(self.key, **said)


@dataclass(frozen=True, slots=True)
class ManualLine:
    """A line to be: fields of its rated charge and of its invoice line, without ids."""

    rated: Record
    line: Record


def made_before(uow: UnitOfWork, request: Request, account_id: int) -> Record | None:
    """The document an earlier request with the same key made; also locks the account.

    Refuses (409) a key under which something else was asked for.
    """
    lock_accounts(uow, [account_id])
    return find_made(uow, "invoice", request.kept())


def day_of(
    uow: UnitOfWork, request: Request, snapshot: Record, corrects: Record | None = None
) -> date:
    """The document's date: as asked, or today where the account is. Refuses a day before the
    document that it ``corrects``."""
    if corrects and request.on and request.on < cast("date", corrects["invoice_date"]):
        message = f"{request.on} is before {corrects['number']}, of {corrects['invoice_date']}"
        raise Refused(Problem("before_document", message, "date"))
    zone = ZoneInfo(str(snapshot.get("time_zone") or "UTC"))
    return request.on or uow.now.astimezone(zone).date()


def final_document(uow: UnitOfWork, name: str | int) -> tuple[Record, list[Record]]:
    """A final document by number or id, with its lines. Refuses (404) an unknown one, (409) a
    draft."""
    invoice, lines = read_invoice(uow, name)
    if invoice["state"] != "final":
        message = f"{name} is a draft: finalize or discard it"
        raise Refused(Problem("not_final", message, "invoice"), 409)
    return invoice, lines


def profile_snapshot(uow: UnitOfWork, account_id: int) -> tuple[str, Record]:
    """Currency, and the snapshot of seller and bill-to as they are today, of a billed account."""
    (row,) = load_profiles(uow, [account_id]).to_pylist()
    return str(row["currency"]), cast("Record", decode_json(row["snapshot"]))


def check_places(amount: Decimal, currency: str, field: str) -> None:
    """Refuse (422) an amount finer than the currency's minor unit."""
    if amount != round_half_up(amount, exponent(currency)):
        message = f"{amount} is finer than an amount in {currency}"
        raise Refused(Problem("too_many_places", message, field))


def save_document(
    uow: UnitOfWork, head: Record, lines: Sequence[ManualLine], *, finalize: bool
) -> Record:
    """Store a document with its lines, number it if ordered, and answer with it.

    ``head`` has the fields of an invoice; its state and total are found here.
    """
    total = sum((cast("Decimal", line.rated["amount"]) for line in lines), Decimal(0))
    snapshot = cast("Record", head["snapshot"])
    values = {
        "state": "draft",
        "total": total,
        "usage_segment_seen": 0,
        "purchase_order": snapshot.get("purchase_order"),
        **head,
    }
    invoice_id = int(uow.create("invoice", values, by_command=True)["id"])
    add_lines(uow, invoice_id, str(head["currency"]), lines)
    if finalize:
        finalize_drafts(uow, [invoice_id])
    return uow.get("invoice", invoice_id)


def add_lines(uow: UnitOfWork, invoice_id: int, currency: str, lines: Sequence[ManualLine]) -> None:
    """Store further lines of a draft (id), behind those it has; its total stays as it is."""
    last = "SELECT coalesce(max(position), 0) AS at FROM invoice_line WHERE invoice_id = :id"
    first = int(uow.query(last, id=invoice_id)[0]["at"]) + 1
    charge_ids = uow.allocate_ids("rated_charge", len(lines))
    rated = [
        {
            "part": -charge_id,
            **_NOTHING_COUNTED,
            **line.rated,
            "id": charge_id,
            "invoice_id": invoice_id,
            "exact_amount": line.rated["amount"],
            "list_amount": line.rated["amount"],
            "currency": currency,
            "steps": json.dumps(line.rated["steps"], default=str),
        }
        for charge_id, line in zip(charge_ids, lines, strict=True)
    ]
    shown = [
        {
            **line.line,
            "invoice_id": invoice_id,
            "position": position,
            "rated_charge_id": charge_id,
            "service_start": line.rated["service_start"],
            "service_end": line.rated["service_end"],
            "quantity": line.rated["quantity"],
            "amount": line.rated["amount"],
        }
        for position, (charge_id, line) in enumerate(
            zip(charge_ids, lines, strict=True), start=first
        )
    ]
    uow.copy_in("rated_charge", _table(rated))
    uow.copy_in("invoice_line", _table(shown))


def _table(rows: Sequence[Record]) -> pa.Table:
    """Rows as a table with every field that any of them has."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


_NOTHING_COUNTED: Record = {
    "quantity_before": Decimal(0),
    "included_quantity": Decimal(0),
    "events": 0,
}
