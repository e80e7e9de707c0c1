"""Drafts become final: numbered without a gap, unless they come to nothing or wait for approval.

Everything goes through here, whoever asks: bill runs, the end of grace, documents by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from counterfoil.business.billing.events import tell_finalized
from counterfoil.business.billing.moving import move_lines
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Finalized:
    """How many drafts became final, how many came to nothing and were kept back by the policy of
    their account, and how many wait for approval."""

    final: int
    held: int = 0
    waiting: int = 0


# What prepaid balances paid in full is no invoice of nothing: the account has to see it. Documents
# that somebody asked for are issued whatever they come to.
_HOLD_BACK = """
UPDATE invoice i SET state = CASE p.zero_amount WHEN 'carry' THEN 'carried' ELSE 'suppressed' END,
       updated_at = :now, row_version = i.row_version + 1
FROM billing_profile p
WHERE p.account_id = i.account_id AND p.zero_amount <> 'issue'
  AND i.id = ANY(:ids) AND i.state = 'draft' AND i.total = 0
  AND i.bill_run_id IS NOT NULL AND i.corrects_id IS NULL
  AND NOT EXISTS (SELECT 1 FROM rated_charge r WHERE r.invoice_id = i.id AND r.kind = 'prepaid')
"""

_CARRIED = """
SELECT DISTINCT ON (c.id) c.id AS source, i.id AS target
FROM invoice c
JOIN billing_profile p ON p.account_id = c.account_id
JOIN invoice i ON i.account_id = c.account_id AND i.currency = c.currency AND i.id = ANY(:ids)
 AND i.bill_run_id IS NOT NULL AND i.corrects_id IS NULL
 AND (p.split_by <> 'site' OR i.site_id IS NOT DISTINCT FROM c.site_id)
 AND (p.split_by <> 'purchase_order' OR i.purchase_order IS NOT DISTINCT FROM c.purchase_order)
WHERE c.state = 'carried' ORDER BY c.id, i.id
"""

NEEDS_APPROVAL = """
SELECT i.id FROM invoice i
LEFT JOIN billing_profile p ON p.account_id = i.account_id
LEFT JOIN (SELECT approval, approval_above FROM seller ORDER BY id LIMIT 1) s ON true
CROSS JOIN LATERAL (
    SELECT coalesce(nullif(p.approval, 'as_seller'), s.approval) AS which,
           CASE WHEN p.approval <> 'as_seller' THEN p.approval_above ELSE s.approval_above END
               AS above) r
WHERE i.state = 'draft' AND i.approved_at IS NULL
  AND (r.which = 'all' OR r.which = 'above' AND abs(i.total) > coalesce(r.above, 0))
"""
"""Ids of drafts that somebody has to approve before they become final."""

_FINALIZE = """
UPDATE invoice i SET state = 'final', number = v.number, finalized_at = :now, updated_at = :now,
       row_version = i.row_version + 1
FROM unnest(CAST(:ids AS bigint[]), CAST(:numbers AS text[])) AS v(id, number)
WHERE i.id = v.id AND i.state = 'draft'
"""

DEFAULT_PREFIXES = {
    "invoice_prefix": "INV-",
    "credit_note_prefix": "CN-",
    "debit_note_prefix": "DN-",
}


def finalize_invoices(
    database: Database, *, now: datetime, invoice_ids: Sequence[int] | None = None
) -> Finalized:
    """Give drafts (all, or those ids) their gapless numbers and make them final.

    Of all drafts, those that wait for approval stay so; refuses (409) them when they are asked for
    by id.
    """

    def finalize(uow: UnitOfWork) -> Finalized:
        chosen = "" if invoice_ids is None else " AND id = ANY(:ids)"
        rows = uow.query(
            f"SELECT id FROM invoice WHERE state = 'draft'{chosen} ORDER BY id FOR UPDATE",
            **({} if invoice_ids is None else {"ids": list(invoice_ids)}),
        )
        done = finalize_drafts(uow, [int(row["id"]) for row in rows])
        if invoice_ids is not None and done.waiting:
            message = "has not been approved: see who may approve it"
            raise Refused(Problem("not_approved", message, "invoice_ids"), 409)
        return done

    return database.attempt(finalize, now=now)


def finalize_drafts(uow: UnitOfWork, invoice_ids: Sequence[int]) -> Finalized:
    """Number these drafts, each kind of document in its own gapless series.

    Those that come to nothing are kept back as the billing profile says, and those that wait for
    approval stay drafts. Lines carried from earlier documents go along.
    """
    ids = list(invoice_ids)
    held = uow.execute(_HOLD_BACK, ids=ids, now=uow.now)
    waiting = [
        int(row["id"]) for row in uow.query(f"{NEEDS_APPROVAL} AND i.id = ANY(:ids)", ids=ids)
    ]
    rows = uow.query(
        "SELECT id, kind FROM invoice WHERE id = ANY(:ids) AND state = 'draft' "
        "AND NOT id = ANY(:waiting) ORDER BY id",
        ids=ids,
        waiting=waiting,
    )
    final = [int(row["id"]) for row in rows]
    move_lines(uow, [(row["source"], row["target"]) for row in uow.query(_CARRIED, ids=final)])
    _number(uow, rows)
    tell_finalized(uow, final)
    return Finalized(len(final), held, len(waiting))


def _number(uow: UnitOfWork, rows: Sequence[Record]) -> None:
    names = ", ".join(DEFAULT_PREFIXES)
    seller = uow.query(f"SELECT {names} FROM seller ORDER BY id LIMIT 1")
    prefixes = seller[0] if seller else DEFAULT_PREFIXES
    # In the order in which a reissue takes its two numbers, so that nobody waits in a circle.
    for kind in ("credit_note", "debit_note", "invoice"):
        ids = [row["id"] for row in rows if row["kind"] == kind]
        if not ids:
            continue
        first = uow.next_numbers(kind, len(ids))
        numbers = [f"{prefixes[f'{kind}_prefix']}{first + n:06}" for n in range(len(ids))]
        uow.execute(_FINALIZE, ids=ids, numbers=numbers, now=uow.now)
