"""What a bill run or preview produced, in the words of the notation."""

from collections.abc import Mapping
from decimal import Decimal

from counterfoil.business.billing.queries import Preview
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.interfaces.scenarios.comparison import Produced, ProducedInvoice
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_INVOICES = """
SELECT i.id, a.external_id AS account, i.kind, i.number, i.currency, i.invoice_date, i.due_date,
       i.purchase_order, i.total
FROM invoice i JOIN account a ON a.id = i.account_id
WHERE (i.bill_run_id = :run AND i.state IN ('draft', 'final')) OR i.id = :document
ORDER BY a.external_id, i.id
"""
_LINES = """
SELECT l.*, r.currency, r.kind, r.layer, r.events, r.included_quantity, r.exact_amount,
       r.subscription_charge_id, r.subject_id, r.discount_id, r.commitment_id, r.prepaid_grant_id
FROM invoice_line l
JOIN invoice i ON i.id = l.invoice_id
JOIN rated_charge r ON r.id = l.rated_charge_id
WHERE i.bill_run_id = :run OR i.id = :document ORDER BY l.invoice_id, l.position
"""
_PROBLEMS = """
SELECT a.external_id AS account, p.code, p.message
FROM billing_problem p JOIN account a ON a.id = p.account_id
WHERE p.bill_run_id = :run ORDER BY a.external_id, p.id
"""
_CHARGES = """
SELECT sc.id, c.external_id AS charge, s.external_id AS subscription
FROM subscription_charge sc
JOIN charge c ON c.id = sc.charge_id
JOIN subscription s ON s.id = sc.subscription_id
WHERE sc.id = ANY(:ids)
"""
_NAMED = ("discount", "commitment", "prepaid_grant")


def read_bill_run(uow: UnitOfWork, run: int) -> Produced:
    """All invoices of a bill run with their lines, and the accounts it skipped."""
    problems = tuple(uow.query(_PROBLEMS, run=run))
    return Produced(_documents(uow, run=run, document=None), problems)


def read_document(uow: UnitOfWork, document: int) -> Produced:
    """One document (id), with its lines."""
    return Produced(_documents(uow, run=None, document=document), ())


def _documents(
    uow: UnitOfWork, *, run: int | None, document: int | None
) -> tuple[ProducedInvoice, ...]:
    lines: dict[object, list[Mapping[str, object]]] = {}
    for row in _with_names(uow, uow.query(_LINES, run=run, document=document)):
        lines.setdefault(row["invoice_id"], []).append(_line(row))
    invoices = uow.query(_INVOICES, run=run, document=document)
    return tuple(
        ProducedInvoice(_invoice(row), tuple(lines.get(row["id"], ()))) for row in invoices
    )


def read_preview(uow: UnitOfWork, preview: Preview) -> Produced:
    """A preview in the same form; its problems and invoice are those of the billed account."""
    problems = tuple({"code": one.code, "message": one.message} for one in preview.problems)
    invoices = []
    for one in (preview, *preview.others):
        if one.invoice is not None:
            account = uow.get("account", _number(one.invoice["account_id"]))["external_id"]
            pairs = zip(one.rated_charges, one.lines, strict=True)
            rows = [{**charge, **line} for charge, line in pairs]
            lines = tuple(_line(row) for row in _with_names(uow, rows))
            invoices.append(ProducedInvoice(_invoice({**one.invoice, "account": account}), lines))
    return Produced(tuple(invoices), problems)


def _with_names(uow: UnitOfWork, rows: list[Record]) -> list[Record]:
    """The rows of rated charges with the external ids of what they refer to: charge,
    subscription, and the discount, commitment or grant as incentive."""
    ids = sorted({row["subscription_charge_id"] or 0 for row in rows})
    charges = {row["id"]: row for row in uow.query(_CHARGES, ids=ids)}
    incentives = {name: _external_ids(uow, name, rows, f"{name}_id") for name in _NAMED}
    subscriptions = _external_ids(uow, "subscription", rows, "subject_id")
    named = []
    for row in rows:
        of_charge = charges.get(row["subscription_charge_id"], {})
        found = [incentives[name].get(row[f"{name}_id"]) for name in _NAMED]
        named.append(
            {
                **row,
                "charge": of_charge.get("charge"),
                "subscription": of_charge.get("subscription")
                or subscriptions.get(row["subject_id"]),
                "incentive": next((name for name in found if name), None),
            }
        )
    return named


def _external_ids(
    uow: UnitOfWork, entity: str, rows: list[Record], field: str
) -> dict[object, str]:
    ids = sorted({row[field] for row in rows if row[field]})
    if not ids:
        return {}
    found = uow.query(f'SELECT id, external_id FROM "{entity}" WHERE id = ANY(:ids)', ids=ids)
    return {row["id"]: str(row["external_id"]) for row in found}


def _invoice(row: Record) -> Mapping[str, object]:
    return {
        "account": row["account"],
        "kind": row["kind"],
        "number": row["number"],
        "currency": row["currency"],
        "purchase_order": row["purchase_order"],
        "date": row["invoice_date"],
        "due": row["due_date"],
        "total": _money(row["total"], row["currency"]),
    }


def _line(row: Record) -> Mapping[str, object]:
    return {
        "charge": row["charge"],
        "subscription": row["subscription"],
        "kind": row["kind"],
        "incentive": row["incentive"],
        "site": row["site_name"],
        "description": row["description"],
        "from": row["service_start"],
        "to": row["service_end"],
        "quantity": _shortest(row["quantity"]),
        "included": _shortest(row["included_quantity"]),
        "unit": row["unit"],
        "unit_amount": _shortest(row["unit_amount"]),
        "layer": row["layer"],
        "events": row["events"],
        "exact_amount": _shortest(row["exact_amount"]),
        "amount": _money(row["amount"], row["currency"]),
    }


def _shortest(value: object) -> object:
    """A decimal without trailing zeros."""
    if not isinstance(value, Decimal):
        return value
    text = format(value, "f")
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)


def _money(value: object, currency: object) -> object:
    """An amount with the decimal places of its currency, or all it has when it has more."""
    short = _shortest(value)
    places = exponent(str(currency))
    if not isinstance(short, Decimal) or -int(short.as_tuple().exponent) > places:
        return short
    return round_half_up(short, places)


def _number(value: object) -> int:
    return int(str(value))
