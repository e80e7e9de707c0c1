"""Quotes are approved, sent with a link, and declined. What was sent never changes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from counterfoil.business.orders.limits import discount_limit, too_much
from counterfoil.business.sales.document import quote_pdf, quote_snapshot
from counterfoil.business.sales.drafting import OPEN, hold_quote
from counterfoil.business.sales.events import APPROVAL_ASKED, QUOTE_SENT, tell
from counterfoil.business.sales.links import new_key, token_of
from counterfoil.business.sales.queries import read_quotes
from counterfoil.business.subscriptions.invoicing import who_is_billed
from counterfoil.core.periods.zones import local_date, local_midnight
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.files.store import FileStore, record_file
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, repr=False)
class Sent:
    """A quote that was sent: the ``token`` of its link, told this once, and until when it is
    valid."""

    quote: int
    token: str
    expires_at: datetime
    document_hash: str


def ask_approval(uow: UnitOfWork, quote_id: int) -> Record:
    """Ask for the discount of a quote to be approved. Where the actor may give it alone, it is
    approved thereby."""
    held = _held_open(uow, quote_id)
    if held["status"] != "draft":
        return held
    changes: Record = {"status": "in_approval", "approval_asked_by": uow.actor}
    if held["discount_percent"] <= discount_limit(uow):
        changes = {"status": "approved", "approved_by": uow.actor, "approved_at": uow.now}
    else:
        (quote,) = read_quotes(uow, [quote_id])
        percent = held["discount_percent"]
        tell(uow, APPROVAL_ASKED, quote, discount_percent=percent, asked_by=uow.actor)
    return uow.update("quote", quote_id, changes, by_command=True)


def decide_discount(
    uow: UnitOfWork, quote_id: int, *, approved: bool, comment: str | None = None
) -> Record:
    """Approve the discount of a quote, or reject it: then it is a draft again.

    Refuses (403) who has made the quote or asked for it, and whose own limit is lower; (409) when
    nobody has asked.
    """
    held = _held_open(uow, quote_id)
    if held["status"] != "in_approval":
        message = f"the quote is {held['status'].replace('_', ' ')}: nobody asks for an approval"
        raise Refused(Problem("nothing_to_decide", message, "status"), 409)
    if uow.actor in (held["made_by"], held["approval_asked_by"]):
        message = "somebody else than who has made the quote or asked for it has to decide"
        raise Refused(Problem("not_granted", message, "approved_by"), 403)
    limit = discount_limit(uow)
    if approved and limit < held["discount_percent"]:
        raise Refused(too_much(held["discount_percent"], limit), 403)
    changes: Record = {"status": "draft", "comment": comment}
    if approved:
        changes = {
            "status": "approved",
            "approved_by": uow.actor,
            "approved_at": uow.now,
            "comment": comment,
        }
    return uow.update("quote", quote_id, changes, by_command=True)


def send_quote(uow: UnitOfWork, files: FileStore, quote_id: int) -> Sent:
    """Send a quote: fix its document, keep it, and make its link. Other versions of its number that
    are with the customer are superseded.

    Sent again it gets a new link, and the old one ends. Refuses (409) what gives more discount
    than the actor may give and nobody has approved, what is out of date, and what is decided.
    """
    held = hold_quote(uow, quote_id)
    expires_at = _expiry(uow, held)
    if expires_at <= uow.now:
        message = f"it could be accepted until {held['valid_until']}; change or revise it"
        raise Refused(Problem("quote_expired", message, "valid_until"), 409)
    key = new_key()
    changes: Record = {"link_key": key, "link_expires_at": expires_at}
    if held["status"] != "sent":
        changes |= _fixed(uow, files, held)
    digest = str(changes.get("document_hash") or held["document_hash"])
    uow.update("quote", quote_id, changes, by_command=True)
    if held["status"] != "sent":
        supersede_others(uow, held, ("sent",))
        (quote,) = read_quotes(uow, [quote_id])
        tell(uow, QUOTE_SENT, quote, document_hash=digest)
    return Sent(quote_id, token_of(key, quote_id, expires_at, digest), expires_at, digest)


def decline_quote(uow: UnitOfWork, quote_id: int, reason: str | None = None) -> Record:
    """Note that a quote was declined, or is no longer wanted; refuses (409) an accepted one."""
    held = hold_quote(uow, quote_id)
    if held["status"] == "declined":
        return held
    if held["status"] not in (*OPEN, "sent"):
        message = f"the quote is {held['status']}"
        raise Refused(Problem("wrong_status", message, "status"), 409)
    changes: Record = {"status": "declined", "comment": reason, "link_key": None}
    return uow.update("quote", quote_id, changes, by_command=True)


def read_document(uow: UnitOfWork, files: FileStore, quote_id: int) -> tuple[str, bytes]:
    """Name and content of the PDF of a quote: as it was sent, or as it is now."""
    (quote,) = read_quotes(uow, [quote_id])
    name = f"{quote.row['number']}-{quote.row['version']}.pdf"
    if quote.row["document_hash"] is not None:
        return name, files.read(str(quote.row["document_hash"]))
    return name, quote_pdf(quote, quote_snapshot(uow, quote), uow.now.date())


def _held_open(uow: UnitOfWork, quote_id: int) -> Record:
    held = hold_quote(uow, quote_id)
    if held["status"] not in OPEN:
        message = f"the quote is {held['status']}"
        raise Refused(Problem("wrong_status", message, "status"), 409)
    return held


def _fixed(uow: UnitOfWork, files: FileStore, held: Record) -> Record:
    """What sending a quote for the first time writes; refuses what cannot be sent."""
    if held["status"] not in OPEN:
        message = f"the quote is {held['status']}: revise it"
        raise Refused(Problem("wrong_status", message, "status"), 409)
    limit = discount_limit(uow)
    if held["status"] != "approved" and held["discount_percent"] > limit:
        raise Refused(too_much(held["discount_percent"], limit), 409)
    (quote,) = read_quotes(uow, [int(held["id"])])
    snapshot = quote_snapshot(uow, quote)
    day = local_date(uow.now, str(snapshot.get("time_zone") or "UTC"))
    sent = replace(quote, row={**quote.row, "status": "sent", "sent_at": uow.now})
    kept = files.keep([quote_pdf(sent, snapshot, day)])
    name = f"{held['number']}-{held['version']}.pdf"
    return {
        "status": "sent",
        "sent_at": uow.now,
        "snapshot": snapshot,
        "document_hash": kept[0],
        "stored_file_id": record_file(uow, name, "application/pdf", kept),
    }


_WHOSE = """
SELECT a.external_id AS account, l.time_zone FROM quote q
LEFT JOIN lead l ON l.id = q.lead_id
LEFT JOIN account a ON a.id = coalesce(q.account_id, l.account_id)
WHERE q.id = :id
"""


def _expiry(uow: UnitOfWork, held: Record) -> datetime:
    """The instant at which the last day ends on which a quote can be accepted, at the customer."""
    (row,) = uow.query(_WHOSE, id=held["id"])
    account = row["account"]
    zone = row["time_zone"] if account is None else who_is_billed(uow, account).time_zone
    return local_midnight(held["valid_until"] + timedelta(days=1), str(zone))


_OTHERS = """
SELECT id FROM quote WHERE number = :number AND id <> :id AND status = ANY(:statuses) ORDER BY id
"""


def supersede_others(uow: UnitOfWork, held: Record, statuses: Sequence[str]) -> None:
    """Other versions of a quote's number that are in these statuses no longer hold."""
    rows = uow.query(_OTHERS, number=held["number"], id=held["id"], statuses=list(statuses))
    changes: list[tuple[int, Record]] = [
        (row["id"], {"status": "superseded", "link_key": None}) for row in rows
    ]
    uow.update_many("quote", changes, by_command=True)
