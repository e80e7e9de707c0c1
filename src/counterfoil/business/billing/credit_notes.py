"""Credit notes, voids and debit notes: new documents that correct final ones.

What they give back or add is a share of lines as they were billed. The account is locked while it
is found out what is left, so that no line is given back twice, by whomever.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import cast

from counterfoil.business.billing.crediting import (
    BilledLine,
    CreditPart,
    Share,
    credit_amount,
    credit_everything,
    credit_parts,
    share_of,
)
from counterfoil.business.billing.manual_documents import (
    ManualLine,
    Request,
    check_places,
    day_of,
    final_document,
    made_before,
    profile_snapshot,
    save_document,
)
from counterfoil.core.money.allocation import allocate
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.money.written import without_zeros
from counterfoil.core.problems import Problem, Refused, demand_reason
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

# What was given back of a charge is settled once a re-rating has taken back the rest of it.
_LINES = """
SELECT l.position, l.account_name, l.site_name, l.product_name, l.description, l.unit,
       l.unit_amount, l.custom_fields, r.id AS rated_charge_id, r.kind, r.amount, r.quantity,
       r.service_start, r.service_end, r.cycle_start, r.cycle_end, r.cycle_days,
       r.subscription_charge_id, r.price_id, r.layer, r.discount_id, r.holder_id,
       r.prepaid_grant_id, r.steps, CASE WHEN r.kind = 'debit' THEN s.id ELSE r.applies_to_id END
       AS applies_to_id, CASE WHEN r.kind = 'debit' THEN r.applies_to_id ELSE r.id END AS base_id,
       coalesce(g.reversed, 0) AS reversed,
       CASE WHEN r.kind = 'reversal' AND EXISTS (
           SELECT 1 FROM rated_charge a
           WHERE a.reverses_id = r.reverses_id AND a.kind = 'adjustment'
       ) THEN 0 ELSE n.net END AS net,
       coalesce(g.quantity, 0) AS quantity_credited, coalesce(g.periods, '[]') AS periods
FROM invoice_line l
JOIN rated_charge r ON r.id = l.rated_charge_id
LEFT JOIN rated_charge o ON o.id = r.applies_to_id AND r.kind = 'debit'
LEFT JOIN rated_charge s
  ON s.invoice_id = r.invoice_id AND s.kind = 'debit' AND s.applies_to_id = o.applies_to_id
LEFT JOIN LATERAL (
    SELECT -sum(c.amount) AS reversed,
           -sum(c.quantity) FILTER (WHERE c.kind = 'credit'
                                    AND c.steps->0->>'how' = 'quantity') AS quantity,
           jsonb_agg(jsonb_build_array(c.service_start, c.service_end))
               FILTER (WHERE c.kind = 'credit' AND c.steps->0->>'how' = 'period') AS periods
    FROM rated_charge c WHERE c.reverses_id = r.id
) g ON true
JOIN LATERAL (
    SELECT sum(x.amount) AS net
    FROM rated_charge b
    JOIN rated_charge x ON x.id = b.id OR x.reverses_id = b.id
    WHERE b.id = coalesce(CASE WHEN r.kind = 'debit' THEN r.applies_to_id END, r.id)
       OR b.kind = 'debit'
          AND b.applies_to_id = coalesce(CASE WHEN r.kind = 'debit' THEN r.applies_to_id END, r.id)
) n ON true
WHERE l.invoice_id = :invoice ORDER BY l.position
"""

_CARRIED = ("subscription_charge_id", "cycle_start", "cycle_end", "cycle_days", "price_id", "layer")
_SHOWN = ("account_name", "site_name", "product_name", "custom_fields")


KINDS_MADE = {
    "credit": "credit_note",
    "void": "credit_note",
    "debit": "debit_note",
    "reissue": "invoice",
}
"""Correction to the kind of document that makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DebitPart:
    """What is charged on top of a line: an amount, or a quantity at what the line came to."""

    position: int
    amount: Decimal | None = None
    quantity: Decimal | None = None


def credit_invoice(
    uow: UnitOfWork,
    invoice: str | int,
    request: Request,
    *,
    parts: Sequence[CreditPart] = (),
    amount: Decimal | None = None,
) -> Record:
    """Make a credit note for a final invoice or debit note; answers with it.

    Of chosen ``parts``, of an ``amount`` shared over all lines, or, with neither, of all that is
    left. Refuses (404) an unknown document, (409) a draft, a credit note, or more than is left.
    """
    if parts and amount is not None:
        message = "give lines or an amount for the whole document, not both"
        raise Refused(Problem("bad_choice", message, "amount"))
    original = correctable(uow, invoice)
    request = correcting(request, original, "credit", amount=amount, lines=list(parts) or None)
    before = made_before(uow, request, int(original["account_id"]))
    if before is not None:
        return before
    return _save_credit(uow, original, request, "credit", parts, amount)


def void_invoice(uow: UnitOfWork, invoice: str | int, request: Request) -> Record:
    """Credit all that is left of a document, which then counts as voided; answers with the credit
    note. Asked again, it answers with the same. Refuses (409) when nothing is left."""
    original = correctable(uow, invoice)
    request = correcting(request, original, "void")
    before = made_before(uow, request, int(original["account_id"]))
    voided = uow.find("invoice", corrects_id=original["id"], correction="void")
    if before is not None or voided is not None:
        return cast("Record", before or voided)
    return _save_credit(uow, original, request, "void", (), None)


def reissue_invoice(uow: UnitOfWork, invoice: str | int, request: Request) -> Record:
    """Void a document and bill the same again on a new one, with who is billed as it is today.

    What is billed again is what the void gave back, line by line, prepaid balances included.
    Asked again, it answers with the same new document.
    """
    original = correctable(uow, invoice)
    request = correcting(request, original, "reissue")
    before = made_before(uow, request, int(original["account_id"]))
    again = uow.find("invoice", corrects_id=original["id"], correction="reissue")
    if before is not None or again is not None:
        return cast("Record", before or again)
    note = void_invoice(uow, int(original["id"]), Request(reason=request.reason, on=request.on))
    rows = {row["rated_charge_id"]: row for row in read_billed_lines(uow, original).values()}
    taken = uow.query(_TAKEN, note=note["id"])
    lines = [reissued_line(rows[row["reverses_id"]], row, original) for row in taken]
    made = _save(uow, original, request, "reissue", lines)
    uow.execute(_SERVED_NO_MORE, invoice=made["id"], now=uow.now)
    return made


_TAKEN = """
SELECT r.reverses_id, -r.amount AS amount, -r.quantity AS quantity, o.steps, o.prepaid_grant_id
FROM rated_charge r
JOIN invoice_line l ON l.rated_charge_id = r.id
JOIN rated_charge o ON o.id = r.reverses_id
WHERE r.invoice_id = :note ORDER BY l.position
"""


# Service may have ended while all of it was voided, and nothing could be given back. It is billed
# again, so it is looked at again.
_SERVED_NO_MORE = """
UPDATE subscription_charge sc SET billed_through = b.service_end, updated_at = :now,
       row_version = sc.row_version + 1
FROM (SELECT subscription_charge_id, max(service_end) AS service_end FROM rated_charge
      WHERE invoice_id = :invoice AND amount > 0 GROUP BY 1) b
WHERE sc.id = b.subscription_charge_id AND sc.end_date < b.service_end
  AND sc.billed_through < b.service_end
"""


def debit_invoice(
    uow: UnitOfWork,
    invoice: str | int,
    request: Request,
    *,
    parts: Sequence[DebitPart] = (),
    amount: Decimal | None = None,
) -> Record:
    """Make a debit note that charges more for what a final invoice billed; answers with it.

    Per line (``parts``), or an ``amount`` shared over all its charges. Refuses as
    :func:`credit_invoice` does, and what adds nothing.
    """
    if bool(parts) == (amount is not None):
        message = "give lines or an amount for the whole document"
        raise Refused(Problem("bad_choice", message, "amount"))
    original = correctable(uow, invoice)
    request = correcting(request, original, "debit", amount=amount, lines=list(parts) or None)
    before = made_before(uow, request, int(original["account_id"]))
    if before is not None:
        return before
    rows = read_billed_lines(uow, original)
    charges = [row for row in rows.values() if row["amount"] > 0]
    currency = str(original["currency"])
    added = _added(charges, parts, amount, currency)
    lines = [_debit_line(rows[position], *extra, original) for position, extra in added.items()]
    return _save(uow, original, request, "debit", lines)


def correcting(request: Request, original: Record, correction: str, **more: object) -> Request:
    """The request with what it is to do to a document. Refuses one that does not say why."""
    demand_reason(request.reason)
    return request.asking(document=original["number"], correction=correction, **more)


def correctable(uow: UnitOfWork, invoice: str | int) -> Record:
    """A final invoice or debit note (number or id). Refuses (404, 409) everything else."""
    original, _ = final_document(uow, invoice)
    if original["kind"] == "credit_note":
        message = f"{original['number']} is a credit note and cannot be corrected"
        raise Refused(Problem("not_creditable", message, "invoice"), 409)
    return original


def _save_credit(
    uow: UnitOfWork,
    original: Record,
    request: Request,
    correction: str,
    parts: Sequence[CreditPart],
    amount: Decimal | None,
) -> Record:
    rows = read_billed_lines(uow, original)
    billed = [billed_line(row) for row in rows.values()]
    currency = str(original["currency"])
    for part in parts:
        if part.amount is not None:
            check_places(part.amount, currency, "lines.amount")
    places = exponent(currency)
    if parts:
        shares = credit_parts(billed, parts, places)
    elif amount is not None:
        check_places(amount, currency, "amount")
        shares = credit_amount(billed, amount, places)
    else:
        shares = credit_everything(billed, places)
    lines = [credit_line(rows[share.line.position], share, original) for share in shares]
    return _save(uow, original, request, correction, lines)


def read_billed_lines(uow: UnitOfWork, original: Record) -> dict[int, Record]:
    """The lines of a document by position, each with what was given back of it by now."""
    rows = uow.query(_LINES, invoice=original["id"])
    return {int(row["position"]): row for row in rows}


def billed_line(row: Record) -> BilledLine:
    """A line of :func:`read_billed_lines` for the computation of credits."""
    names = (
        "position", "rated_charge_id", "kind", "amount", "reversed", "net", "quantity",
        "service_start", "service_end", "applies_to_id", "quantity_credited",
    )  # fmt: skip
    periods = tuple(
        (date.fromisoformat(first), date.fromisoformat(end)) for first, end in row["periods"]
    )
    return BilledLine(**{name: row[name] for name in names}, periods_credited=periods)


def credit_line(row: Record, share: Share, original: Record) -> ManualLine:
    """The line that gives back a share of another one."""
    step = {
        "how": share.how,
        "number": original["number"],
        "line": row["position"],
        "billed": row["amount"],
        "before": row["reversed"],
        "credited": share.amount,
        "left": share.line.left - share.amount,
    }
    rated = {
        **{name: row[name] for name in (*_CARRIED, "discount_id", "holder_id", "prepaid_grant_id")},
        "kind": "credit",
        "reverses_id": row["rated_charge_id"],
        "service_start": share.start,
        "service_end": share.end,
        "days": (share.end - share.start).days,
        "quantity": -share.quantity,
        "amount": -share.amount,
        "steps": [step],
    }
    whole = share.how == "all" and bool(share.quantity)
    return ManualLine(
        rated,
        {
            **{name: row[name] for name in _SHOWN},
            "description": f"Credit: {row['description']}"[:500],
            "unit": row["unit"] if share.quantity else "",
            "unit_amount": row["unit_amount"] if whole else None,
        },
    )


def reissued_line(row: Record, taken: Record, original: Record) -> ManualLine:
    """The line that bills again what was given back of another one: amount, quantity,
    prepaid_grant_id, and the steps of a prepaid draw."""
    line = _debit_line(row, taken["amount"], taken["quantity"], original)
    line.line["unit_amount"] = row["unit_amount"] if taken["quantity"] else None
    if taken["prepaid_grant_id"] is None:
        line.rated["steps"][0]["how"] = "reissue"
        return line
    drawn = {
        "kind": "prepaid",
        "prepaid_grant_id": taken["prepaid_grant_id"],
        "applies_to_id": None,
        "steps": taken["steps"],
    }
    return ManualLine({**line.rated, **drawn}, line.line)


def _added(
    charges: Sequence[Record],
    parts: Sequence[DebitPart],
    amount: Decimal | None,
    currency: str,
) -> Mapping[int, tuple[Decimal, Decimal]]:
    """Amount and quantity to add, by position of the line."""
    places = exponent(currency)
    if amount is not None:
        check_places(amount, currency, "amount")
        if amount <= 0 or not charges:
            raise Refused(Problem("too_small", "must be above 0", "amount"))
        shares = allocate(amount, [row["amount"] for row in charges], places)
        return {
            int(row["position"]): (share, Decimal(0))
            for row, share in zip(charges, shares, strict=True)
            if share
        }
    known = {int(row["position"]): row for row in charges}
    added: dict[int, tuple[Decimal, Decimal]] = {}
    for part in parts:
        row = known.get(part.position)
        if row is None or part.position in added:
            message = f"the document has no further charge at line {part.position}"
            allowed = tuple(str(position) for position in known)
            raise Refused(Problem("unknown_line", message, "lines.line", allowed))
        added[part.position] = _extra(row, part, currency)
    return added


def _extra(row: Record, part: DebitPart, currency: str) -> tuple[Decimal, Decimal]:
    quantity = part.quantity or Decimal(0)
    extra = part.amount
    if extra is None:
        if not quantity or not row["quantity"]:
            message = "give an amount, or a quantity of a line that has one"
            raise Refused(Problem("missing", message, "lines.amount"))
        extra = share_of(row["amount"], quantity, row["quantity"], exponent(currency))
    check_places(extra, currency, "lines.amount")
    if extra <= 0:
        raise Refused(Problem("too_small", "must be above 0", "lines.amount"))
    return extra, quantity


def _debit_line(row: Record, extra: Decimal, quantity: Decimal, original: Record) -> ManualLine:
    step = {
        "how": "quantity" if quantity else "amount",
        "number": original["number"],
        "line": row["position"],
        "billed": row["amount"],
        "debited": extra,
    }
    rated = {
        **{name: row[name] for name in _CARRIED},
        "kind": "debit",
        "applies_to_id": row["base_id"],
        "service_start": row["service_start"],
        "service_end": row["service_end"],
        "days": (row["service_end"] - row["service_start"]).days,
        "quantity": quantity,
        "amount": extra,
        "steps": [step],
    }
    shown = {
        **{name: row[name] for name in _SHOWN},
        "description": row["description"],
        "unit": row["unit"] if quantity else "",
        "unit_amount": None,
    }
    return ManualLine(rated, shown)


def _save(
    uow: UnitOfWork,
    original: Record,
    request: Request,
    correction: str,
    lines: Sequence[ManualLine],
) -> Record:
    snapshot = cast("Record", original["snapshot"])
    if correction == "reissue":
        snapshot = profile_snapshot(uow, int(original["account_id"]))[1]
    on = day_of(uow, request, snapshot, original)
    gives_back = correction in ("credit", "void")
    terms = 0 if gives_back else int(str(snapshot.get("payment_terms_days") or 0))
    corrects = {"number": original["number"], "date": str(original["invoice_date"])}
    head: Record = {
        "kind": KINDS_MADE[correction],
        "account_id": original["account_id"],
        "corrects_id": original["id"],
        "correction": correction,
        "reason": request.reason,
        **request.kept(),
        "currency": original["currency"],
        "invoice_date": on,
        "due_date": on + timedelta(days=terms),
        "snapshot": {**snapshot, "corrects": corrects, "reason": request.reason},
    }
    return save_document(uow, head, lines, finalize=request.finalize)


def manual_sentences(rated: Record, currency: str) -> tuple[str, ...]:
    """How a credit, a debit or a one-off line came about, from what was stored beside it."""
    step = rated["steps"][0]

    def money(amount: object) -> str:
        return f"{round_half_up(Decimal(str(amount)), exponent(currency)):,f} {currency}"

    if rated["kind"] == "one_off":
        counted = f"{step['quantity']} × {step['unit_amount']}"
        return (f"Entered by hand: {counted} = {money(rated['amount'])}.",)
    where = f"line {step['line']} of {step['number']}, billed as {money(step['billed'])}"
    if rated["kind"] == "debit" and step["how"] == "reissue":
        return (f"This bills again what was voided of {where}: {money(step['debited'])}.",)
    if rated["kind"] == "debit":
        return (f"This charges {money(step['debited'])} on top of {where}.",)
    how = {
        "all": "all that was left of it",
        "amount": "an amount",
        "quantity": f"the share of {without_zeros(abs(Decimal(str(rated['quantity']))))} units",
        "period": f"the share of the days from {rated['service_start']} to before "
        f"{rated['service_end']}",
        "goes_along": "its share of what is credited besides",
    }[step["how"]]
    return (
        f"This credits {where}: {how}, {money(step['credited'])}.",
        f"Given back before: {money(step['before'])}. Left: {money(step['left'])}.",
    )
