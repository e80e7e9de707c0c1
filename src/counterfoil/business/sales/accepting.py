"""Quotes are accepted: by a signed link, once, or by hand for a customer who signed on paper."""

from dataclasses import dataclass

from counterfoil.business.sales.drafting import hold_quote
from counterfoil.business.sales.events import QUOTE_ACCEPTED, tell
from counterfoil.business.sales.links import is_signed, read_token, unknown_link
from counterfoil.business.sales.queries import Quote, read_quotes
from counterfoil.business.sales.sending import supersede_others
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """Who accepts: the name they give, and the address on the network they come from."""

    name: str
    address: str | None = None


def read_link(uow: UnitOfWork, token: str) -> Quote:
    """The quote that a link is for; refuses (404) a link that is not valid or was replaced, (410)
    one that has expired or whose quote no longer holds."""
    link = read_token(token)
    rows = uow.query("SELECT * FROM quote WHERE id = :id", id=link.quote)
    row: Record = rows[0] if rows else {"link_key": None}
    if row["link_key"] is None or not is_signed(link, row["link_key"], str(row["document_hash"])):
        raise unknown_link()
    if row["status"] == "sent" and link.expires_at <= uow.now:
        message = f"this quote could be accepted until {row['valid_until']}"
        raise Refused(Problem("quote_expired", message, "token"), 410)
    return read_quotes(uow, [link.quote])[0]


def accept_by_link(uow: UnitOfWork, token: str, by: Acceptance) -> Quote:
    """Accept the quote of a link. Refuses as :func:`read_link`, (409) one that was accepted, and
    (422) nobody's name."""
    hold_quote(uow, read_link(uow, token).id)
    quote = read_link(uow, token)
    if quote.row["status"] != "sent":
        message = "this quote was accepted already"
        raise Refused(Problem("accepted_already", message, "token"), 409)
    return _accept(uow, quote.row, by, "link")


def accept_by_hand(uow: UnitOfWork, quote_id: int, by: Acceptance) -> Quote:
    """Note that a quote that was sent has been accepted otherwise. Refuses (409) one that is not
    with the customer, or is out of date."""
    held = hold_quote(uow, quote_id)
    if held["status"] != "sent":
        message = f"the quote is {held['status'].replace('_', ' ')}, not sent"
        raise Refused(Problem("wrong_status", message, "status"), 409)
    if held["link_expires_at"] <= uow.now:
        message = f"it could be accepted until {held['valid_until']}; revise it"
        raise Refused(Problem("quote_expired", message, "valid_until"), 409)
    return _accept(uow, held, by, "hand")


_VERSIONS = "SELECT id, status FROM quote WHERE number = :number ORDER BY id"


def _accept(uow: UnitOfWork, row: Record, by: Acceptance, way: str) -> Quote:
    name = " ".join(by.name.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        message = f"give your name, of at most {LONGEST_NAME} characters"
        raise Refused(Problem("required", message, "name"))
    versions = uow.query(_VERSIONS, number=row["number"])
    if any(one["status"] in ("accepted", "converted") for one in versions):
        message = f"another version of {row['number']} was accepted"
        raise Refused(Problem("accepted_already", message, "status"), 409)
    uow.update(
        "quote",
        int(row["id"]),
        {
            "status": "accepted",
            "accepted_at": uow.now,
            "accepted_by": name,
            "accepted_from": by.address,
            "accepted_by_way_of": way,
            "accepted_hash": row["document_hash"],
        },
        by_command=True,
    )
    supersede_others(uow, row, ("draft", "in_approval", "approved", "sent"))
    (quote,) = read_quotes(uow, [int(row["id"])])
    tell(uow, QUOTE_ACCEPTED, quote, accepted_by=name, document_hash=row["document_hash"])
    return quote
