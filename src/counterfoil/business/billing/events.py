"""What the billing room tells to webhooks and mail rules."""

from collections.abc import Sequence

from counterfoil.platform.outbox.emitting import EventType, emit_from
from counterfoil.platform.records.unit_of_work import UnitOfWork

INVOICE_FINALIZED = EventType(
    "invoice.finalized", "An invoice or credit note got its number and is final."
)
BILL_RUN_FINISHED = EventType("bill_run.finished", "A bill run has gone over all its accounts.")

THRESHOLD_REACHED = EventType(
    "entitlement.threshold_reached", "So much of what an entitlement includes in a cycle is used."
)

SPENDING_REACHED = EventType(
    "spending.threshold_reached", "The charges of an account in a period have come to so much."
)

EVENT_TYPES = (INVOICE_FINALIZED, BILL_RUN_FINISHED, THRESHOLD_REACHED, SPENDING_REACHED)

_FINALIZED = """
SELECT CAST(i.id AS text) AS key, 'invoices/' || i.id AS subject,
       jsonb_build_object('invoice_id', i.id, 'number', i.number, 'kind', i.kind,
           'account', a.external_id, 'currency', i.currency,
           'total', CAST(trim_scale(i.total) AS text),
           'invoice_date', i.invoice_date, 'due_date', i.due_date) AS data
FROM invoice i JOIN account a ON a.id = i.account_id
WHERE i.id = ANY(:ids)
ORDER BY i.id
"""


def tell_finalized(uow: UnitOfWork, invoice_ids: Sequence[int]) -> None:
    """Tell of invoices that have become final in this unit of work."""
    emit_from(uow, INVOICE_FINALIZED, _FINALIZED, ids=list(invoice_ids))
