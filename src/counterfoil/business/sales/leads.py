"""Leads become customers: account, contacts, sites and opportunity in one call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import cast

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A lead (external id) to be converted.

    ``account`` is the external id of the account to be, or of one that is there and gets the
    sites and contacts. When None an account is made with that of the lead. ``name`` is that of the
    opportunity.
    """

    lead: str
    account: str | None = None
    name: str | None = None
    amount: Decimal | None = None
    close_date: date | None = None


@dataclass(frozen=True, slots=True)
class Converted:
    """What a lead became: external ids, and how many records this call made of it."""

    lead: str
    account: str
    opportunity: str
    contacts: int = 0
    sites: int = 0
    fresh: bool = True


_LEADS = "SELECT * FROM lead WHERE external_id = ANY(:names) ORDER BY id FOR UPDATE"

_EARLIER = """
SELECT l.external_id AS lead, a.external_id AS account, o.external_id AS opportunity
FROM lead l JOIN account a ON a.id = l.account_id JOIN opportunity o ON o.lead_id = l.id
WHERE l.external_id = ANY(:names)
"""

_OF_LEADS = "SELECT * FROM {part} WHERE lead_id = ANY(:ids) ORDER BY id"

_PLACE = ("street", "city", "region", "postal_code", "country")


def convert_leads(uow: UnitOfWork, conversions: Sequence[Conversion]) -> list[Converted]:
    """Make accounts with billing profile, contacts, sites and an opportunity of leads.

    A fixed number of statements for any number of leads. What was converted before is answered
    as it was and nothing is added. Refuses all with every problem: unknown and unqualified leads;
    a problem's line is the position from 1.
    """
    names = [one.lead for one in conversions]
    leads = {str(row["external_id"]): row for row in uow.query(_LEADS, names=names)}
    problems = _find_problems(conversions, leads)
    if problems:
        raise Refused(problems)
    earlier = {
        row["lead"]: Converted(**row, fresh=False) for row in uow.query(_EARLIER, names=names)
    }
    todo = [one for one in conversions if one.lead not in earlier]
    made = _convert(uow, todo, leads) if todo else {}
    return [earlier.get(name) or made[name] for name in names]


def _find_problems(conversions: Sequence[Conversion], leads: Mapping[str, Record]) -> list[Problem]:
    problems: list[Problem] = []
    seen: set[str] = set()
    for position, one in enumerate(conversions, start=1):
        found = leads.get(one.lead)
        if found is None:
            problem = Problem("unknown_lead", f"there is no lead {one.lead!r}", "lead")
        elif found["status"] == "unqualified":
            message = f"lead {one.lead!r} is unqualified; contact it again first"
            problem = Problem("unqualified_lead", message, "lead")
        elif one.lead in seen:
            problem = Problem("named_twice", f"lead {one.lead!r} is named twice", "lead")
        else:
            seen.add(one.lead)
            continue
        problems.append(replace(problem, line=position if len(conversions) > 1 else None))
    return problems


def _convert(
    uow: UnitOfWork, todo: Sequence[Conversion], leads: Mapping[str, Record]
) -> dict[str, Converted]:
    accounts = _accounts(uow, todo, leads)
    owners = {cast("int", leads[one.lead]["id"]): accounts[one.account or one.lead] for one in todo}
    sites = _sites(uow, todo, leads, owners)
    contacts = _contacts(uow, todo, leads, owners)
    uow.create_many("site", sites)
    uow.create_many("contact", contacts)
    uow.create_many(
        "opportunity", [_opportunity(one, leads[one.lead], owners) for one in todo], by_command=True
    )
    uow.update_many(
        "lead",
        [
            (lead, {"status": "converted", "account_id": account, "converted_at": uow.now})
            for lead, account in owners.items()
        ],
        by_command=True,
    )
    return {
        one.lead: Converted(
            one.lead,
            one.account or one.lead,
            one.lead,
            sum(row["account_id"] == owners[leads[one.lead]["id"]] for row in contacts),
            sum(row["account_id"] == owners[leads[one.lead]["id"]] for row in sites),
        )
        for one in todo
    }


def _accounts(
    uow: UnitOfWork, todo: Sequence[Conversion], leads: Mapping[str, Record]
) -> dict[str, int]:
    """Ids of the accounts by external id; those that are missing are made with their profiles."""
    wanted = {one.account or one.lead: leads[one.lead] for one in todo}
    named = [one.account for one in todo if one.account is not None]
    there = uow.ids_by("account", "external_id", named) if named else {}
    missing = {name: lead for name, lead in wanted.items() if name not in there}
    ids = uow.create_many(
        "account",
        [{"external_id": name, "name": lead["company"]} for name, lead in missing.items()],
    )
    made = dict(zip(missing, ids, strict=True))
    uow.create_many(
        "billing_profile",
        [
            {
                **{name: lead[name] for name in (*_PLACE, "email", "tax_id")},
                "account_id": made[name],
                "currency": lead["currency"],
                "time_zone": lead["time_zone"],
                "attention": lead["person"],
                "paper": "us-letter" if lead["country"] in ("US", "CA") else "a4",
            }
            for name, lead in missing.items()
        ],
    )
    return {**{str(name): one for name, one in there.items()}, **made}


def _sites(
    uow: UnitOfWork,
    todo: Sequence[Conversion],
    leads: Mapping[str, Record],
    owners: Mapping[int, int],
) -> list[Record]:
    """The sites of the leads; of one without any, its own address when that has a country."""
    given = uow.query(_OF_LEADS.format(part="lead_site"), ids=list(owners))
    rows: list[Record] = [
        {
            **{name: row[name] for name in ("external_id", "name", *_PLACE, "p_code", "time_zone")},
            "account_id": owners[row["lead_id"]],
        }
        for row in given
    ]
    with_sites = {row["lead_id"] for row in given}
    for one in todo:
        lead = leads[one.lead]
        if lead["id"] not in with_sites and lead["country"] is not None:
            rows.append(
                {
                    **{name: lead[name] for name in ("external_id", *_PLACE, "time_zone")},
                    "name": lead["city"] or lead["company"],
                    "account_id": owners[lead["id"]],
                }
            )
    return rows


def _contacts(
    uow: UnitOfWork,
    todo: Sequence[Conversion],
    leads: Mapping[str, Record],
    owners: Mapping[int, int],
) -> list[Record]:
    """The person of each lead and the further ones."""
    rows: list[Record] = [
        {
            "external_id": lead["external_id"],
            "account_id": owners[lead["id"]],
            "name": lead["person"],
            "email": lead["email"],
            "phone": lead["phone"],
            "role": "commercial",
        }
        for lead in (leads[one.lead] for one in todo)
        if lead["person"] is not None
    ]
    further = uow.query(_OF_LEADS.format(part="lead_contact"), ids=list(owners))
    return rows + [
        {
            **{name: row[name] for name in ("external_id", "name", "email", "phone", "role")},
            "account_id": owners[row["lead_id"]],
        }
        for row in further
    ]


def _opportunity(one: Conversion, lead: Record, owners: Mapping[int, int]) -> Record:
    return {
        "external_id": lead["external_id"],
        "account_id": owners[lead["id"]],
        "lead_id": lead["id"],
        "name": one.name or lead["company"],
        "stage": "qualification",
        "amount": one.amount,
        "currency": lead["currency"],
        "close_date": one.close_date,
        "owner": lead["owner"],
        "source": lead["source"],
    }
