"""One-off invoices: what somebody wants to bill beside all subscriptions, in one call."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from counterfoil.business.billing.manual_documents import (
    ManualLine,
    Request,
    day_of,
    made_before,
    profile_snapshot,
    save_document,
)
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.problems import Problem, Refused, line_among
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOffLine:
    """A line: quantity × unit amount, rounded half-up once. ``product`` and ``site`` are external
    ids; the service period is the day of the invoice where it is not given, and half-open."""

    description: str
    unit_amount: Decimal
    quantity: Decimal = Decimal(1)
    unit: str = ""
    product: str | None = None
    site: str | None = None
    start: date | None = None
    end: date | None = None


def bill_one_off(
    uow: UnitOfWork,
    account: str,
    lines: Sequence[OneOffLine],
    request: Request,
    *,
    purchase_order: str | None = None,
) -> Record:
    """Make an invoice of these lines for an account (external id); answers with it.

    A negative total makes it a credit note. Refuses (404) an unknown account, (422) an account
    without billing profile, unknown products and sites, and no lines.
    """
    found = uow.find("account", external_id=account)
    if found is None:
        message = f"there is no account {account!r}"
        raise Refused(Problem("unknown_account", message, "account"), 404)
    account_id = int(found["id"])
    if uow.find("billing_profile", account_id=account_id) is None:
        message = f"account {account!r} has no billing profile: it is never invoiced"
        raise Refused(Problem("not_billed", message, "account"))
    request = request.asking(
        account=account, lines=list(lines), purchase_order=purchase_order or None
    )
    before = made_before(uow, request, account_id)
    if before is not None:
        return before
    currency, snapshot = profile_snapshot(uow, account_id)
    on = day_of(uow, request, snapshot)
    _refuse_wrong(lines, on)
    products, sites = _names(uow, lines, account_id)
    places = exponent(currency)
    made = [_line(line, on, str(found["name"]), products, sites, places) for line in lines]
    total = sum((line.rated["amount"] for line in made), Decimal(0))
    terms = int(str(snapshot["payment_terms_days"]))
    head: Record = {
        "kind": "credit_note" if total < 0 else "invoice",
        "account_id": account_id,
        "reason": request.reason,
        **request.kept(),
        "currency": currency,
        "invoice_date": on,
        "due_date": on + timedelta(days=terms),
        "snapshot": {
            **snapshot,
            "purchase_order": purchase_order or snapshot["purchase_order"],
            "reason": request.reason,
        },
    }
    return save_document(uow, head, made, finalize=request.finalize)


_SITES = """
SELECT external_id, name FROM site WHERE account_id = :account AND external_id = ANY(:sites)
"""


def _names(
    uow: UnitOfWork, lines: Sequence[OneOffLine], account_id: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Names of products and sites by external id; refuses (422) unknown ones and no lines."""
    if not lines:
        raise Refused(Problem("required", "give at least one line", "lines"))
    wanted = {line.product for line in lines} - {None}, {line.site for line in lines} - {None}
    products = uow.query(
        "SELECT external_id, name FROM product WHERE external_id = ANY(:names)",
        names=sorted(map(str, wanted[0])),
    )
    sites = uow.query(_SITES, account=account_id, sites=sorted(map(str, wanted[1])))
    found = [
        {str(row["external_id"]): str(row["name"]) for row in rows} for rows in (products, sites)
    ]
    problems = [
        Problem(f"unknown_{kind}", f"there is no {kind} {name!r} for this account", f"lines.{kind}")
        for kind, names, known in zip(("product", "site"), wanted, found, strict=True)
        for name in sorted(map(str, names))
        if name not in known
    ]
    if problems:
        raise Refused(problems)
    return found[0], found[1]


def _refuse_wrong(lines: Sequence[OneOffLine], on: date) -> None:
    """Refuse (422) lines that say nothing, and service that ends before it begins."""
    problems: list[Problem] = []
    for place, line in enumerate(lines):
        start, at = line.start or on, line_among(lines, place)
        if not line.description.strip():
            problems.append(Problem("required", "is required", "lines.description", line=at))
        if line.end is not None and line.end <= start:
            message = f"{line.end} is not after {start}"
            problems.append(Problem("ends_before_start", message, "lines.service_end", line=at))
    if problems:
        raise Refused(problems)


def _line(
    line: OneOffLine,
    on: date,
    account_name: str,
    products: dict[str, str],
    sites: dict[str, str],
    places: int,
) -> ManualLine:
    start = line.start or on
    end = line.end or start + timedelta(days=1)
    days = (end - start).days
    step = {"quantity": line.quantity, "unit_amount": line.unit_amount}
    rated = {
        "kind": "one_off",
        "cycle_start": start,
        "cycle_end": end,
        "service_start": start,
        "service_end": end,
        "days": days,
        "cycle_days": days,
        "quantity": line.quantity,
        "amount": round_half_up(line.quantity * line.unit_amount, places),
        "steps": [step],
    }
    shown = {
        "account_name": account_name,
        "site_name": sites.get(line.site or ""),
        "product_name": products.get(line.product or "", line.description[:255]),
        "description": line.description,
        "unit": line.unit,
        "unit_amount": line.unit_amount,
    }
    return ManualLine(rated, shown)
