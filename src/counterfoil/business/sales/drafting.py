"""Quotes are drafted, changed and revised; each time they are priced."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import cast

from counterfoil.business.sales.notation import NewQuote, NewQuoteLine
from counterfoil.business.sales.pricing import price_quotes
from counterfoil.business.sales.rules import NUMBERS
from counterfoil.business.subscriptions.invoicing import who_are_billed
from counterfoil.business.usage.store import UsageStore
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

VALID_DAYS = 30
"""How long a quote can be accepted that does not say."""

EARLIEST, LATEST = date(1970, 1, 1), date(2200, 1, 1)
MOST_MONTHS = 100_000
MOST_EVENTS = 200_000
"""Months of service, and expected events, that one quote is computed of."""

OPEN = ("draft", "in_approval", "approved")
"""In these a quote can still be changed; a change makes it a draft again."""


def make_quotes(uow: UnitOfWork, store: UsageStore, quotes: Sequence[NewQuote]) -> list[int]:
    """Draft quotes, each as the first version of its number, and price them; their ids.

    The number of statements does not grow with lines. Refuses all with every problem; a problem's
    line is the position of the line in its quote, from 1.
    """
    known = _read_known(uow, quotes)
    problems = [found for quote in quotes for found in _find_problems(quote, known)]
    if problems:
        raise Refused(problems)
    ids = uow.create_many(
        "quote",
        [
            {
                **_head(uow, quote, known),
                "number": quote.number,
                "version": 1,
                "made_by": uow.actor,
            }
            for quote in quotes
        ],
        by_command=True,
    )
    for quote_id, quote in zip(ids, quotes, strict=True):
        _save_lines(uow, quote_id, quote, known)
    price_quotes(uow, store, ids)
    return ids


def change_quote(uow: UnitOfWork, store: UsageStore, quote_id: int, quote: NewQuote) -> None:
    """Let a quote that was not sent yet offer something else, and price it anew; approvals of it
    are void. For whom it is, and its number, stay. Refuses (409) one that was sent."""
    held = hold_quote(uow, quote_id)
    if held["status"] not in OPEN:
        message = f"the quote is {held['status']}: revise it, what was sent never changes"
        raise Refused(Problem("quote_sent", message, "status"), 409)
    account, lead = _party(uow, held)
    quote = replace(quote, account=account, lead=lead)
    known = _read_known(uow, [quote])
    problems = list(_find_problems(quote, known))
    if problems:
        raise Refused(problems)
    head = _head(uow, quote, known)
    changes = {name: value for name, value in head.items() if name not in _PARTY}
    uow.update("quote", quote_id, {**changes, **_UNDECIDED}, by_command=True)
    uow.execute("DELETE FROM quote_line WHERE quote_id = :id", id=quote_id)
    _save_lines(uow, quote_id, quote, known)
    price_quotes(uow, store, [quote_id])


_PARTY = ("account_id", "lead_id", "currency")
_UNDECIDED: Record = {
    "status": "draft",
    "approval_asked_by": None,
    "approved_by": None,
    "approved_at": None,
    "comment": None,
}

_COPY = (
    *("number", "account_id", "lead_id", "opportunity_id", "title", "currency", "start_date"),
    *("term_months", "terms", "discount_percent"),
)
_COPY_LINE = (
    *("position", "site_external_id", "rate_plan_id", "description", "quantities", "prices"),
    *("start_date", "term_months", "discount_percent"),
)
_VERSIONS = "SELECT * FROM quote WHERE number = :number ORDER BY version"
_LINES = "SELECT * FROM quote_line WHERE quote_id = :id ORDER BY position"
_USAGE = """
SELECT u.*, n.position FROM quote_usage u JOIN quote_line n ON n.id = u.quote_line_id
WHERE n.quote_id = :id ORDER BY u.id
"""


def revise_quote(
    uow: UnitOfWork, store: UsageStore, quote_id: int, *, valid_until: date | None = None
) -> int:
    """Draft the next version of a quote with the same lines, priced anew; its id.

    The versions before stay as they are until this one is sent. Refuses (409) when one of them was
    accepted.
    """
    old = hold_quote(uow, quote_id)
    versions = uow.query(_VERSIONS, number=old["number"])
    if any(row["status"] in ("accepted", "converted") for row in versions):
        message = f"a version of {old['number']} was accepted: what else is wanted is a new quote"
        raise Refused(Problem("quote_accepted", message, "status"), 409)
    if valid_until is not None and not EARLIEST <= valid_until < LATEST:
        message = f"has to lie from {EARLIEST} to before {LATEST}"
        raise Refused(Problem("out_of_range", message, "valid_until"))
    until = valid_until or max(uow.now.date() + timedelta(days=VALID_DAYS), old["valid_until"])
    made = uow.create(
        "quote",
        {
            **{name: old[name] for name in _COPY},
            "version": versions[-1]["version"] + 1,
            "valid_until": until,
            "made_by": uow.actor,
        },
        by_command=True,
    )
    lines = uow.query(_LINES, id=quote_id)
    rows = [{**{name: row[name] for name in _COPY_LINE}, "quote_id": made["id"]} for row in lines]
    ids = uow.create_many("quote_line", rows, by_command=True)
    by_position = dict(zip((row["position"] for row in lines), ids, strict=True))
    usage = [
        {
            **{name: row[name] for name in ("meter_id", "quantity", "events", "attributes")},
            "quote_line_id": by_position[row["position"]],
        }
        for row in uow.query(_USAGE, id=quote_id)
    ]
    uow.create_many("quote_usage", usage, by_command=True)
    price_quotes(uow, store, [int(made["id"])])
    return int(made["id"])


# Whoever writes a version of a number waits for whoever writes another one of it.
_ONE_BY_ONE = """
SELECT pg_advisory_xact_lock(hashtextextended('quote ' || number, 0)) FROM quote WHERE id = :id
"""


def hold_quote(uow: UnitOfWork, quote_id: int) -> Record:
    """A quote, locked with its other versions until the transaction ends; refuses (404) an unknown
    one."""
    uow.query(_ONE_BY_ONE, id=quote_id)
    rows = uow.query("SELECT * FROM quote WHERE id = :id FOR UPDATE", id=quote_id)
    if not rows:
        raise Refused(Problem("unknown_quote", f"there is no quote {quote_id}", "quote"), 404)
    return rows[0]


@dataclass(frozen=True, slots=True)
class _Known:
    """What quotes name: accounts with their currency, leads, opportunities, rate plans with their
    charges and meters, and the sites of every account and lead."""

    accounts: dict[str, int]
    currencies: dict[str, str]
    leads: dict[str, Record]
    opportunities: dict[object, int]
    plans: dict[object, int]
    charges: dict[str, dict[str, Record]]
    meters: dict[str, int]
    sites: dict[tuple[str, int], set[str]]

    def places_of(self, quote: NewQuote) -> set[str]:
        """The sites that lines of the quote may name."""
        found: set[str] = set()
        if quote.lead in self.leads:
            lead = self.leads[str(quote.lead)]
            found |= self.sites.get(("lead", lead["id"]), set())
            found |= self.sites.get(("account", lead["account_id"]), set())
        if quote.account in self.accounts:
            found |= self.sites.get(("account", self.accounts[str(quote.account)]), set())
        return found


_CHARGES = """
SELECT c.external_id AS charge, c.kind, p.external_id AS rate_plan, m.external_id AS meter,
       m.id AS meter_id
FROM charge c JOIN rate_plan p ON p.id = c.rate_plan_id LEFT JOIN meter m ON m.id = c.meter_id
WHERE p.external_id = ANY(:plans) ORDER BY c.id
"""

_SITES = """
SELECT 'account' AS kind, account_id AS owner, external_id FROM site
WHERE account_id = ANY(:accounts)
UNION ALL
SELECT 'lead', lead_id, external_id FROM lead_site WHERE lead_id = ANY(:leads)
UNION ALL
SELECT 'lead', l.id, l.external_id FROM lead l
WHERE l.id = ANY(:leads) AND l.country IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM lead_site t WHERE t.lead_id = l.id)
"""

_LEADS = "SELECT * FROM lead WHERE external_id = ANY(:names)"


def _read_known(uow: UnitOfWork, quotes: Sequence[NewQuote]) -> _Known:
    names = {quote.account for quote in quotes if quote.account is not None}
    accounts = {str(k): v for k, v in uow.ids_by("account", "external_id", names).items()}
    wanted = [quote.lead for quote in quotes if quote.lead is not None]
    leads = {str(row["external_id"]): row for row in uow.query(_LEADS, names=wanted)}
    plans = {line.rate_plan for quote in quotes for line in quote.lines}
    charges: dict[str, dict[str, Record]] = {}
    meters: dict[str, int] = {}
    for row in uow.query(_CHARGES, plans=sorted(plans)):
        charges.setdefault(str(row["rate_plan"]), {})[str(row["charge"])] = row
        if row["meter"] is not None:
            meters[str(row["meter"])] = int(row["meter_id"])
    owners = [*accounts.values(), *(row["account_id"] for row in leads.values())]
    sites: dict[tuple[str, int], set[str]] = {}
    for row in uow.query(
        _SITES,
        accounts=[one for one in owners if one is not None],
        leads=[row["id"] for row in leads.values()],
    ):
        sites.setdefault((row["kind"], row["owner"]), set()).add(str(row["external_id"]))
    return _Known(
        accounts,
        {name: billed.currency for name, billed in who_are_billed(uow, accounts).items()},
        leads,
        uow.ids_by("opportunity", "external_id", {one.opportunity for one in quotes} - {None}),
        uow.ids_by("rate_plan", "external_id", plans),
        charges,
        meters,
        sites,
    )


def _find_problems(quote: NewQuote, known: _Known) -> Iterator[Problem]:
    if (quote.account is None) == (quote.lead is None):
        yield Problem("bad_choice", "name an account or a lead", "account")
    for name, value, there in (
        ("account", quote.account, known.accounts),
        ("lead", quote.lead, known.leads),
        ("opportunity", quote.opportunity, known.opportunities),
    ):
        if value is not None and value not in there:
            yield Problem(f"unknown_{name}", f"there is no {name} {value!r}", name)
    if quote.number is not None and ("/" in quote.number or NUMBERS.fullmatch(quote.number)):
        message = "must have no slash and not look like Q-000001, which is given where none is"
        yield Problem("wrong_value", message, "number")
    if not quote.lines:
        yield Problem("required", "a quote needs a line", "lines")
    yield from _find_extremes(quote)
    places = known.places_of(quote)
    for position, line in enumerate(quote.lines, start=1):
        for one in _find_line_problems(line, known, places):
            yield replace(one, field=f"lines.{one.field}", line=position)


def _find_extremes(quote: NewQuote) -> Iterator[Problem]:
    """Days that no calendar of ours holds, and more than is computed while somebody waits."""
    days: dict[str, list[date | None]] = {
        "start_date": [quote.start_date],
        "valid_until": [quote.valid_until],
        "lines.start_date": [line.start_date for line in quote.lines],
    }
    for name, given in days.items():
        if any(one is not None and not EARLIEST <= one < LATEST for one in given):
            message = f"has to lie from {EARLIEST} to before {LATEST}"
            yield Problem("out_of_range", message, name)
    months = sum(line.term_months or quote.term_months for line in quote.lines)
    if months > MOST_MONTHS:
        message = f"are {months:,} months in all lines; at most {MOST_MONTHS:,} are quoted at once"
        yield Problem("too_many", message, "lines.term_months")
    events = sum(
        (line.term_months or quote.term_months) * estimate.events
        for line in quote.lines
        for estimate in line.usage
    )
    if events > MOST_EVENTS:
        message = f"expects {events:,} events over the terms; at most {MOST_EVENTS:,} are"
        yield Problem("too_many", message, "lines.usage.events")


def _find_line_problems(line: NewQuoteLine, known: _Known, places: set[str]) -> Iterator[Problem]:
    if line.rate_plan not in known.plans:
        message = f"there is no rate plan {line.rate_plan!r}"
        yield Problem("unknown_rate_plan", message, "rate_plan")
        return
    if line.site is not None and line.site not in places:
        message = f"there is no site {line.site!r} of whom the quote is for"
        yield Problem("unknown_site", message, "site", tuple(sorted(places)))
    charges = known.charges.get(line.rate_plan, {})
    for name in ("quantities", "prices"):
        for charge in getattr(line, name):
            if charge not in charges:
                message = f"the rate plan has no charge {charge!r}"
                yield Problem("unknown_charge", message, f"{name}.{charge}", tuple(charges))
            elif name == "quantities" and charges[charge]["kind"] == "usage":
                message = f"{charge} is a usage charge: say under usage what is expected"
                yield Problem("usage_quantity", message, f"quantities.{charge}")
    meters = {str(row["meter"]) for row in charges.values() if row["kind"] == "usage"}
    for estimate in line.usage:
        if estimate.meter not in meters:
            message = f"the rate plan has no usage charge of the meter {estimate.meter!r}"
            yield Problem("unknown_meter", message, "usage.meter", tuple(sorted(meters)))


def _head(uow: UnitOfWork, quote: NewQuote, known: _Known) -> Record:
    lead = known.leads.get(quote.lead or "", {})
    account = known.accounts.get(quote.account or "")
    return {
        "account_id": account,
        "lead_id": lead.get("id"),
        "opportunity_id": known.opportunities.get(quote.opportunity),
        "title": quote.title,
        "currency": known.currencies.get(quote.account or "") or lead.get("currency"),
        "start_date": quote.start_date,
        "term_months": quote.term_months,
        "valid_until": quote.valid_until or uow.now.date() + timedelta(days=VALID_DAYS),
        "terms": quote.terms,
        "discount_percent": max(line.discount_percent for line in quote.lines),
    }


def _save_lines(uow: UnitOfWork, quote_id: int, quote: NewQuote, known: _Known) -> None:
    ids = uow.create_many(
        "quote_line",
        [
            {
                "quote_id": quote_id,
                "position": position,
                "site_external_id": line.site,
                "rate_plan_id": known.plans[line.rate_plan],
                "description": line.description,
                "quantities": _quantities(line, known.charges.get(line.rate_plan, {})),
                "prices": {name: str(amount) for name, amount in line.prices.items()},
                "start_date": line.start_date or quote.start_date,
                "term_months": line.term_months or quote.term_months,
                "discount_percent": line.discount_percent,
            }
            for position, line in enumerate(quote.lines, start=1)
        ],
        by_command=True,
    )
    usage = [
        {
            "quote_line_id": line_id,
            "meter_id": known.meters[estimate.meter],
            "quantity": estimate.quantity,
            "events": estimate.events,
            "attributes": dict(estimate.attributes),
        }
        for line_id, line in zip(ids, quote.lines, strict=True)
        for estimate in line.usage
    ]
    uow.create_many("quote_usage", usage, by_command=True)


def _quantities(line: NewQuoteLine, charges: Mapping[str, Record]) -> dict[str, str]:
    found: dict[str, Decimal] = {}
    if line.quantity is not None:
        found = {name: line.quantity for name, row in charges.items() if row["kind"] == "recurring"}
    return {name: str(amount) for name, amount in (found | dict(line.quantities)).items()}


_OF_PARTY = """
SELECT a.external_id AS account, l.external_id AS lead
FROM quote q LEFT JOIN account a ON a.id = q.account_id LEFT JOIN lead l ON l.id = q.lead_id
WHERE q.id = :id
"""


def _party(uow: UnitOfWork, held: Record) -> tuple[str | None, str | None]:
    (row,) = uow.query(_OF_PARTY, id=held["id"])
    return cast("str | None", row["account"]), cast("str | None", row["lead"])
