"""Read models of billing: an account's next invoice, an invoice with its lines."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from counterfoil.business.billing.bills import Bills, compute_bills
from counterfoil.business.billing.loading import usage_seen
from counterfoil.business.subscriptions.invoicing import billed_account
from counterfoil.business.usage.store import UsageStore
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.exact_json import decode_json
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Preview:
    """What an account's next invoice would be; nothing is stored. ``invoice`` is None when
    nothing is due. Fields are those of the entities invoice, invoice_line and rated_charge,
    without ids; each line has its rated charge at the same place. ``others`` are the further
    invoices when they are split by site or purchase order."""

    invoice: Record | None
    lines: list[Record]
    rated_charges: list[Record]
    problems: tuple[Problem, ...]
    others: "tuple[Preview, ...]" = ()


def preview_invoice(
    database: Database,
    store: UsageStore,
    account_external_id: str,
    billing_date: date,
    *,
    now: datetime,
) -> Preview:
    """The invoice a bill run of ``billing_date`` would make for the account, by the same code."""
    with database.transaction(now=now) as uow:
        account = billed_account(uow, account_external_id)
        bills = compute_bills(
            uow,
            store,
            [account],
            billing_date,
            usage_seen=usage_seen(uow, [account])[account],
            small=True,
        )
    return _as_preview(bills)


def _as_preview(bills: Bills) -> Preview:
    problems = tuple(
        Problem(row["code"], row["message"], "account") for row in bills.problems.to_pylist()
    )
    if not bills.invoices.num_rows:
        return Preview(None, [], [], problems)
    charges = bills.rated_charges.drop_columns(["adjustment_no"]).to_pylist()
    lines = bills.lines.to_pylist()
    previews = []
    for invoice in bills.invoices.to_pylist():
        number, digits = invoice["invoice_no"], exponent(invoice["currency"])
        invoice["total"] = round_half_up(invoice["total"], digits)
        own = [line for line in lines if line["invoice_no"] == number]
        for line in own:
            line["amount"] = round_half_up(line["amount"], digits)
        snapshot = decode_json(invoice["snapshot"])
        shown = {**invoice, "snapshot": snapshot, "number": None, "state": "draft"}
        own_charges = [charge for charge in charges if charge["invoice_no"] == number]
        previews.append(Preview(shown, own, own_charges, problems))
    return replace(previews[0], others=tuple(previews[1:]))


def read_invoice(uow: UnitOfWork, number_or_id: str | int) -> tuple[Record, list[Record]]:
    """An invoice, by its number or its id, and its lines in order; refuses (404) an unknown one."""
    if isinstance(number_or_id, int) or number_or_id.isdecimal():
        invoice = uow.get("invoice", int(number_or_id))
    else:
        found = uow.find("invoice", number=number_or_id)
        if found is None:
            problem = Problem("unknown_invoice", f"there is no invoice {number_or_id!r}", "number")
            raise Refused(problem, status=404)
        invoice = found
    return invoice, read_lines(uow, [int(invoice["id"])])


def read_lines(uow: UnitOfWork, invoice_ids: Sequence[int]) -> list[Record]:
    """The lines of these invoices, invoice by invoice in order of position; one query."""
    return uow.query(
        "SELECT * FROM invoice_line WHERE invoice_id = ANY(:ids) ORDER BY invoice_id, position",
        ids=list(invoice_ids),
    )
