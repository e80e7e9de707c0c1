"""``/accept/<token>``: GET shows the quote, ``/quote.pdf`` its document, POST accepts it."""

import re
from http import HTTPStatus
from time import monotonic
from urllib.parse import parse_qs

from counterfoil.business.sales.accepting import Acceptance, accept_by_link, read_link
from counterfoil.business.sales.queries import Quote
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.acceptance.pages import (
    HEADERS,
    accepted_page,
    offer_page,
    refusal_page,
)
from counterfoil.interfaces.http.doors import Door
from counterfoil.interfaces.http.exchange import Answer, Call, Desk
from counterfoil.interfaces.http.rate_limit import Buckets, RateLimit
from counterfoil.platform.records.unit_of_work import UnitOfWork

PATHS = re.compile(r"/accept/(?P<token>[^/]{1,200})(?P<document>/quote\.pdf)?", re.ASCII)
HTML = "text/html; charset=utf-8"
FORM = "application/x-www-form-urlencoded"
PACE = RateLimit(per_second=1, burst=30)
"""How often one address may ask."""

MOST_FIELDS = 10


class AcceptanceDoor:
    """Answers requests to the pages; remembers how often an address has asked."""

    def __init__(self, pace: RateLimit = PACE) -> None:
        self.buckets = Buckets(pace, monotonic)

    def door(self) -> Door:
        """As an interface beside REST."""
        return Door(
            paths=PATHS,
            handler=self.handle,
            told=told,
            limit=16 * 1024,
            limit_of_strangers=16 * 1024,
        )

    def handle(self, desk: Desk, call: Call) -> Answer:
        """The answer to a request at one of the paths."""
        wait = self.buckets.take(call.client)
        if wait:
            problem = Problem("too_many_requests", self.buckets.told(wait))
            raise Refused(problem, status=HTTPStatus.TOO_MANY_REQUESTS)
        found = PATHS.fullmatch(call.path)
        if found is None:
            raise Refused(Problem("not_found", "there is nothing here"), status=404)
        if found["document"]:
            return shown_document(desk, call, found["token"])
        if call.method == "POST":
            return accepted(desk, call, found["token"])
        _only_read(call)
        return shown(desk, call, found["token"])


def shown(desk: Desk, call: Call, token: str) -> Answer:
    """The quote, with the form while it can be accepted."""
    organisation = desk.organisation
    with organisation.database.transaction(now=organisation.clock()) as uow:
        quote = read_link(uow, token)
    page = offer_page if quote.row["status"] == "sent" else accepted_page
    return _html(page(quote, _seller(quote), call.path))


def shown_document(desk: Desk, call: Call, token: str) -> Answer:
    """The document as it was sent."""
    _only_read(call)
    organisation = desk.organisation
    with organisation.database.transaction(now=organisation.clock()) as uow:
        quote = read_link(uow, token)
    content = organisation.files.read(str(quote.row["document_hash"]))
    name = f"{quote.row['number']}-{quote.row['version']}.pdf"
    safe = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)
    headers = {"content-disposition": f'inline; filename="{safe}"', "x-robots-tag": "noindex"}
    return Answer(HTTPStatus.OK, content, "application/pdf", headers)


def accepted(desk: Desk, call: Call, token: str) -> Answer:
    """Accept the quote in the name that the form gives."""
    if call.media_type != FORM:
        raise Refused(Problem("wrong_media_type", f"send the form as {FORM}"), status=415)
    fields = _fields(call.body)
    by = Acceptance(name=fields.get("name", ""), address=call.client or None)
    organisation = desk.organisation
    database = organisation.database.acting(
        actor="acceptance", source="link", request_id=call.request_id
    )

    def accept(uow: UnitOfWork) -> Quote:
        read_link(uow, token)
        if fields.get("confirm") != "yes":
            message = "confirm that you accept the quote"
            raise Refused(Problem("not_confirmed", message, "confirm"))
        return accept_by_link(uow, token, by)

    quote = database.attempt(accept, now=organisation.clock())
    return _html(accepted_page(quote, _seller(quote), call.path))


def told(refused: Refused) -> Answer:
    """A refusal as a page."""
    page = refusal_page(problem.message for problem in refused.problems)
    return Answer(refused.status, page.encode(), HTML, HEADERS)


def _fields(body: bytes) -> dict[str, str]:
    try:
        given = parse_qs(body.decode(), max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise Refused(Problem("bad_form", "the form cannot be read"), status=400) from None
    return {name: values[0] for name, values in given.items()}


def _only_read(call: Call) -> None:
    if call.method not in ("GET", "HEAD"):
        problem = Problem("method_not_allowed", f"{call.method} is not possible here")
        raise Refused(problem, status=HTTPStatus.METHOD_NOT_ALLOWED)


def _seller(quote: Quote) -> str:
    return str((quote.row["snapshot"].get("seller") or {}).get("name") or "We")


def _html(page: str) -> Answer:
    return Answer(HTTPStatus.OK, page.encode(), HTML, HEADERS)


DOOR = AcceptanceDoor().door()
"""The pages as an interface beside REST."""
