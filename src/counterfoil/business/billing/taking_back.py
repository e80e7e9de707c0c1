"""Drafts that are taken back: what they billed is due again, as if they had never been."""

from collections.abc import Sequence

from counterfoil.platform.records.unit_of_work import UnitOfWork

# What an adjustment bills was billed before, so nothing of it becomes due.
_CHARGES = """
SELECT DISTINCT subscription_charge_id AS id FROM rated_charge
WHERE invoice_id = ANY(:ids) AND subscription_charge_id IS NOT NULL AND adjustment_id IS NULL
"""

# What takes cycles back and what bills them anew is one work: neither stands without the other.
_TOGETHER = """
SELECT DISTINCT i.id FROM adjustment a
JOIN rated_charge r ON r.adjustment_id = a.id
JOIN invoice i ON i.id IN (a.invoice_id, r.invoice_id)
WHERE i.state = 'draft'
  AND a.id IN (SELECT id FROM adjustment WHERE invoice_id = ANY(:ids)
               UNION SELECT adjustment_id FROM rated_charge WHERE invoice_id = ANY(:ids))
"""

# Late usage that a draft billed is late usage again.
_FORGET_USAGE_SEEN = """
UPDATE bill_run SET usage_segment_seen = NULL
WHERE id >= (SELECT min(bill_run_id) FROM invoice WHERE id = ANY(:ids))
"""

# Billed through the last day that a remaining rated charge covers; a remaining reversal means
# that nothing after its first day is billed.
_RESTORE_BILLED_THROUGH = """
UPDATE subscription_charge sc SET billed_through = (
    SELECT least(max(r.service_end) FILTER (WHERE r.kind <> 'reversal'),
                 min(r.service_start) FILTER (WHERE r.kind = 'reversal'))
    FROM rated_charge r WHERE r.subscription_charge_id = sc.id)
WHERE sc.id = ANY(:charges)
"""


def take_back(uow: UnitOfWork, drafts: Sequence[int]) -> int:
    """Delete these drafts (ids), and the draft that belongs to a reissue with one of them; how
    many. The caller keeps bill runs away (``lock_billing``)."""
    if not drafts:
        return 0
    together = uow.query(_TOGETHER, ids=list(drafts))
    ids = sorted({*drafts, *(int(row["id"]) for row in together)})
    charges = [row["id"] for row in uow.query(_CHARGES, ids=ids)]
    uow.execute(_FORGET_USAGE_SEEN, ids=ids)
    deleted = uow.execute("DELETE FROM invoice WHERE id = ANY(:ids) AND state = 'draft'", ids=ids)
    uow.execute(_RESTORE_BILLED_THROUGH, charges=charges)
    return deleted
