"""What is open of documents and what is left of payments and credit notes, as of a day.

Nothing of this is kept anywhere: it is added up from documents, payments, allocations, refunds,
write-offs and what takes them back, by the statements here and nowhere else.
"""

from collections.abc import Sequence
from datetime import date
from typing import cast

from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

POSITIONS = """
taken_back AS (
    SELECT payment_id, refund_id, write_off_id FROM settlement_reversal
    WHERE reversed_on <= :as_of
      AND (CAST(:accounts AS bigint[]) IS NULL OR account_id = ANY(:accounts))
), document AS (
    SELECT i.id, i.number, i.kind, i.account_id, i.currency, i.invoice_date, i.due_date, i.total,
           coalesce(a.amount, 0) AS allocated, coalesce(w.amount, 0) AS written_off,
           i.total - coalesce(a.amount, 0) - coalesce(w.amount, 0) AS open,
           coalesce(a.released, false) AS released
    FROM invoice i
    LEFT JOIN (SELECT invoice_id, sum(amount) AS amount, bool_or(amount < 0) AS released
               FROM allocation
               WHERE allocated_on <= :as_of
                 AND (CAST(:accounts AS bigint[]) IS NULL OR account_id = ANY(:accounts))
               GROUP BY invoice_id) a ON a.invoice_id = i.id
    LEFT JOIN (SELECT o.invoice_id, sum(o.amount) AS amount FROM write_off o
               WHERE o.written_off_on <= :as_of
                 AND o.id NOT IN (SELECT write_off_id FROM taken_back WHERE write_off_id > 0)
                 AND (CAST(:accounts AS bigint[]) IS NULL OR o.account_id = ANY(:accounts))
               GROUP BY o.invoice_id) w ON w.invoice_id = i.id
    WHERE i.state = 'final' AND i.total > 0 AND i.invoice_date <= :as_of
      AND (CAST(:accounts AS bigint[]) IS NULL OR i.account_id = ANY(:accounts))
), held AS (
    SELECT p.id AS credit_id, p.id AS payment_id, NULL::bigint AS credit_note_id,
           NULL::bigint AS corrects_id, p.account_id, p.currency, p.received_on AS day, p.amount,
           coalesce(p.reference, '') AS name
    FROM payment p
    WHERE p.received_on <= :as_of
      AND p.id NOT IN (SELECT payment_id FROM taken_back WHERE payment_id > 0)
      AND (CAST(:accounts AS bigint[]) IS NULL OR p.account_id = ANY(:accounts))
    UNION ALL
    SELECT -i.id, NULL, i.id, i.corrects_id, i.account_id, i.currency, i.invoice_date, -i.total,
           i.number
    FROM invoice i WHERE i.state = 'final' AND i.total < 0 AND i.invoice_date <= :as_of
      AND (CAST(:accounts AS bigint[]) IS NULL OR i.account_id = ANY(:accounts))
), used AS (
    SELECT coalesce(payment_id, -credit_note_id) AS credit_id, sum(allocated) AS allocated,
           sum(refunded) AS refunded, bool_or(allocated < 0) AS released
    FROM (SELECT payment_id, credit_note_id, amount AS allocated, 0 AS refunded FROM allocation
          WHERE allocated_on <= :as_of
            AND (CAST(:accounts AS bigint[]) IS NULL OR account_id = ANY(:accounts))
          UNION ALL
          SELECT payment_id, credit_note_id, 0, amount FROM refund
          WHERE refunded_on <= :as_of
            AND id NOT IN (SELECT refund_id FROM taken_back WHERE refund_id > 0)
            AND (CAST(:accounts AS bigint[]) IS NULL OR account_id = ANY(:accounts))) u
    GROUP BY 1
), credit AS (
    SELECT h.*, coalesce(u.allocated, 0) AS allocated, coalesce(u.refunded, 0) AS refunded,
           h.amount - coalesce(u.allocated, 0) - coalesce(u.refunded, 0) AS remaining,
           coalesce(u.released, false) AS released
    FROM held h LEFT JOIN used u USING (credit_id)
)
"""
"""The relations ``document`` (invoices and debit notes, with what is open of them) and ``credit``
(payments and credit notes, with what remains of them). Parameters: accounts (ids, NULL), as_of."""

EVER = date(9999, 12, 31)
"""As of which day everything counts."""

STATE = """
CASE WHEN open = 0 AND written_off > 0 THEN 'written_off' WHEN open = 0 THEN 'paid'
     WHEN open < total THEN 'partly_paid' ELSE 'open' END
"""

_DOCUMENTS = f"""
WITH {POSITIONS}
SELECT d.*, {STATE} AS payment_state FROM document d
WHERE CAST(:ids AS bigint[]) IS NULL OR d.id = ANY(:ids)
ORDER BY d.account_id, d.due_date, d.invoice_date, d.id
"""

_CREDITS = f"""
WITH {POSITIONS}
SELECT * FROM credit
ORDER BY account_id, credit_note_id IS NULL, day, credit_note_id, payment_id
"""


def read_documents_due(
    uow: UnitOfWork,
    accounts: Sequence[int] | None,
    *,
    ids: Sequence[int] | None = None,
    as_of: date = EVER,
) -> list[Record]:
    """Invoices and debit notes, oldest due first: total, allocated, written_off, open and
    payment_state (open, partly_paid, paid, written_off)."""
    return uow.query(
        _DOCUMENTS,
        accounts=None if accounts is None else list(accounts),
        ids=None if ids is None else list(ids),
        as_of=as_of,
    )


def read_credits(
    uow: UnitOfWork, accounts: Sequence[int] | None, *, as_of: date = EVER
) -> list[Record]:
    """Credit notes, then payments, in the order in which they are used: amount, allocated,
    refunded, remaining."""
    return uow.query(_CREDITS, accounts=None if accounts is None else list(accounts), as_of=as_of)


_TODAY = """
SELECT date(timezone(coalesce(max(time_zone), 'UTC'), CAST(:now AS timestamptz))) AS today
FROM billing_profile WHERE account_id = :account
"""


def today_of(uow: UnitOfWork, account: int) -> date:
    """The day it is where an account (id) is billed, as its documents are dated."""
    return cast("date", uow.query(_TODAY, account=account, now=uow.now)[0]["today"])


_WATERFALL = """
, owed AS (
    SELECT d.*, sum(d.open) OVER (PARTITION BY {group} ORDER BY d.due_date, d.invoice_date, d.id)
           AS upto
    FROM document d WHERE d.open > 0 AND {documents}
), giving AS (
    SELECT c.*, sum(c.remaining) OVER (PARTITION BY {giving_group}
               ORDER BY c.credit_note_id IS NULL, c.day, c.credit_note_id, c.payment_id) AS upto
    FROM credit c WHERE c.remaining > 0 AND {credits}
)
SELECT o.account_id, o.id AS invoice_id, g.payment_id, g.credit_note_id,
       least(o.upto, g.upto) - greatest(o.upto - o.open, g.upto - g.remaining) AS amount,
       greatest(date(timezone(coalesce(b.time_zone, 'UTC'), CAST(:now AS timestamptz))),
                o.invoice_date, g.day) AS allocated_on
FROM owed o JOIN giving g ON {joined} LEFT JOIN billing_profile b ON b.account_id = o.account_id
WHERE least(o.upto, g.upto) > greatest(o.upto - o.open, g.upto - g.remaining)
ORDER BY o.account_id, o.upto, g.upto
"""
_SAME_ACCOUNT = "g.account_id = o.account_id AND g.currency = o.currency"

OLDEST_FIRST = f"WITH {POSITIONS}" + _WATERFALL.format(
    group="d.account_id, d.currency",
    giving_group="c.account_id, c.currency",
    documents="(NOT CAST(:untouched AS boolean) OR NOT d.released)",
    credits="(CAST(:payment AS bigint) IS NULL AND CAST(:credit_note AS bigint) IS NULL"
    " OR c.payment_id = :payment OR c.credit_note_id = :credit_note)"
    " AND NOT (CAST(:untouched AS boolean) AND EXISTS ("
    "SELECT 1 FROM document w WHERE w.id = c.corrects_id AND w.written_off > 0))",
    joined=_SAME_ACCOUNT,
)
"""Allocations to be, of all credits or of one, to the documents oldest due first: one statement for
all accounts, by laying what is owed and what there is side by side."""

TO_THE_CORRECTED = f"WITH {POSITIONS}" + _WATERFALL.format(
    group="d.id",
    giving_group="c.corrects_id",
    documents="true",
    credits="c.corrects_id IS NOT NULL AND NOT c.released",
    joined="g.corrects_id = o.id AND g.currency = o.currency",
)
"""Allocations to be of new credit notes to the documents they correct."""
