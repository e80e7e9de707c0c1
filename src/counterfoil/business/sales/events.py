"""What the sales room tells to webhooks and mail rules."""

from counterfoil.business.sales.queries import Quote
from counterfoil.platform.outbox.emitting import EventType, emit
from counterfoil.platform.records.unit_of_work import UnitOfWork

APPROVAL_ASKED = EventType(
    "quote.approval_asked", "A quote gives more discount than who made it may give alone."
)
QUOTE_SENT = EventType("quote.sent", "A quote was sent; it never changes any more.")
QUOTE_ACCEPTED = EventType("quote.accepted", "A quote was accepted by whom it was made for.")

EVENT_TYPES = (APPROVAL_ASKED, QUOTE_SENT, QUOTE_ACCEPTED)


def tell(uow: UnitOfWork, event: EventType, quote: Quote, **more: object) -> None:
    """Tell of a quote what has happened to it in this unit of work."""
    emit(
        uow,
        event,
        key=f"{quote.id} {uow.now.isoformat()}",
        subject=f"quotes/{quote.id}",
        data={
            "quote_id": quote.id,
            "number": quote.row["number"],
            "version": quote.row["version"],
            "account": quote.account,
            "lead": quote.lead,
            "currency": quote.row["currency"],
            "contract_value": quote.row["contract_value"],
            **more,
        },
    )
