"""Approval of drafts: somebody looks at them, and lets them become final or has them taken back."""

from collections.abc import Sequence

from counterfoil.business.billing.commands import lock_billing
from counterfoil.business.billing.drafts import locked_drafts
from counterfoil.business.billing.finalizing import NEEDS_APPROVAL
from counterfoil.business.billing.taking_back import take_back
from counterfoil.core.problems import demand_reason
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_WAITING = f"""
SELECT i.id, a.external_id AS account, a.name AS account_name, i.kind, i.invoice_date, i.currency,
       i.total, i.bill_run_id
FROM invoice i JOIN account a ON a.id = i.account_id
WHERE i.id IN ({NEEDS_APPROVAL}) ORDER BY i.id
"""

_APPROVE = """
UPDATE invoice SET approved_at = :now, approved_by = :who, updated_at = :now,
       row_version = row_version + 1
WHERE id = ANY(:ids) AND approved_at IS NULL
"""


def waiting_drafts(uow: UnitOfWork) -> list[Record]:
    """Drafts that somebody has to approve: id, account, kind, date, currency and total."""
    return uow.query(_WAITING)


def approve_drafts(uow: UnitOfWork, drafts: Sequence[int]) -> list[Record]:
    """Let these drafts (ids) become final, when it is time; answers with them.

    Who approved and when is kept. From now on they are not computed anew. Approving again changes
    nothing. Refuses (404) unknown ids, (409) what is no draft.
    """
    ids = [int(row["id"]) for row in locked_drafts(uow, drafts)]
    uow.execute(_APPROVE, ids=ids, who=uow.actor, now=uow.now)
    return uow.query("SELECT * FROM invoice WHERE id = ANY(:ids) ORDER BY id", ids=ids)


def refuse_drafts(uow: UnitOfWork, drafts: Sequence[int], reason: str) -> int:
    """Take these drafts (ids) back; what they billed is due again. How many.

    Who refused and why stands among the problems of their bill runs. Refuses as
    :func:`approve_drafts` does, and (409) while a bill run is going on.
    """
    demand_reason(reason)
    lock_billing(uow)
    rows = locked_drafts(uow, drafts)
    uow.create_many(
        "billing_problem",
        [
            {
                "bill_run_id": row["bill_run_id"],
                "account_id": row["account_id"],
                "code": "draft_refused",
                "message": f"{uow.actor} refused the draft of {row['total']:f} {row['currency']}: "
                f"{reason}"[:1000],
            }
            for row in rows
            if row["bill_run_id"] is not None
        ],
        by_command=True,
    )
    return take_back(uow, [int(row["id"]) for row in rows])
