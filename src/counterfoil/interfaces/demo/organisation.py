"""The customers of the demo: accounts in a hierarchy, sites, contacts, billing profiles.

Pure and deterministic: the same seed and size give the same organisation. Rows name each other
by external id; saving resolves the names.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random

from counterfoil.interfaces.demo.names import (
    company_names,
    legal_form,
    person_name,
    street_address,
)
from counterfoil.interfaces.demo.places import HOME_WEIGHTS, Place, places_by_country
from counterfoil.platform.metadata import Record

TEMPLATES: dict[str, str] = {"reseller": "Reseller", "enterprise": "Enterprise"}
"""Pricing templates that some corporate parents are given: external id to name."""

_SITE_KINDS = ("head office", "board room", "conference centre", "branch", "campus", "studio")
_SITES_PER_ACCOUNT = {1: 12, 2: 25, 3: 28, 4: 19, 5: 10, 6: 6}


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """A customer account. ``billed_by`` is the account whose billing profile bills it."""

    external_id: str
    company: str
    name: str
    depth: int
    place: Place
    street: str
    parent: str | None
    billed_by: str
    currency: str
    template: str | None

    @property
    def has_profile(self) -> bool:
        """Whether the account is billed by itself."""
        return self.billed_by == self.external_id


@dataclass(frozen=True, slots=True)
class DemoSite:
    """A place of an account where rooms stand and calls are made from."""

    external_id: str
    account: str
    name: str
    street: str
    place: Place


@dataclass(frozen=True)
class DemoOrganisation:
    """Accounts (parents first), their sites, and the rows that hang on them."""

    accounts: list[DemoAccount]
    sites: list[DemoSite]
    contacts: list[Record]
    billing_profiles: list[Record]

    @cached_property
    def sites_of(self) -> dict[str, list[DemoSite]]:
        """The sites of each account by the account's external id."""
        found: dict[str, list[DemoSite]] = {}
        for site in self.sites:
            found.setdefault(site.account, []).append(site)
        return found

    @property
    def countries(self) -> set[str]:
        """Every country with a site."""
        return {site.place.country for site in self.sites}


def seller_record() -> Record:
    """The issuer of the demo's invoices, an invented company with a logo of its own."""
    logo = Path(__file__).with_name("seller_logo.svg").read_text(encoding="utf-8")
    return {
        "name": "Meridian Conferencing, Inc.",
        "street": "225 Meridian Plaza, Suite 900",
        "city": "Denver",
        "region": "CO",
        "postal_code": "80202",
        "country": "US",
        "tax_id": "00-1234567",
        "email": "billing@meridian.example",
        "phone": "+1 303 555 0142",
        "website": "www.meridian.example",
        "payment_instructions": "Please quote the invoice number. Wire: Example Bank, Denver, "
        "account 000123456789, routing 000000000, SWIFT EXMPUS00XXX. Cheques payable to Meridian "
        "Conferencing, Inc. Questions: billing@meridian.example.",
        "logo_svg": logo,
        "brand_color": "#0b4f6c",
        "invoice_prefix": "MC-",
        "credit_note_prefix": "MCC-",
    }


def build_organisation(count: int, seed: int) -> DemoOrganisation:
    """The demo's customers: ``count`` accounts and about three times as many sites."""
    rng = Random(f"organisation {seed}")  # noqa: S311 - demo data
    accounts = _accounts(rng, count)
    sites = _sites(rng, accounts)
    return DemoOrganisation(
        accounts=accounts,
        sites=sites,
        contacts=_contacts(rng, accounts, sites),
        billing_profiles=[_profile(rng, account) for account in accounts if account.has_profile],
    )


def _home(rng: Random) -> Place:
    places = places_by_country()
    country = rng.choices(list(HOME_WEIGHTS), list(HOME_WEIGHTS.values()))[0]
    return rng.choice(places[country])


def _accounts(rng: Random, count: int) -> list[DemoAccount]:
    """Two fifths corporate parents; the others are divisions, some of them of a division."""
    roots = max(1, count * 2 // 5)
    accounts = [_root(rng, index, name) for index, name in enumerate(company_names(rng, roots))]
    families: list[list[DemoAccount]] = [[root] for root in accounts]
    groups = families[: max(1, roots * 9 // 20)]
    for _ in range(count - roots):
        family = rng.choice(groups)
        parent = family[0] if rng.random() < 0.75 else rng.choice(family)
        if parent.depth > 1:
            parent = family[0]
        family.append(_division(rng, parent, family))
    everyone = [account for family in families for account in family]
    return sorted(everyone, key=lambda account: account.depth)


def _root(rng: Random, index: int, company: str) -> DemoAccount:
    place = _home(rng)
    external_id = f"C{index + 1:04}"
    return DemoAccount(
        external_id=external_id,
        company=company,
        name=f"{company} {legal_form(rng, place.country)}",
        depth=0,
        place=place,
        street=street_address(rng),
        parent=None,
        billed_by=external_id,
        currency=place.currency,
        template=rng.choices(("reseller", "enterprise", None), (15, 25, 60))[0],
    )


def _division(rng: Random, parent: DemoAccount, family: list[DemoAccount]) -> DemoAccount:
    place = _home(rng)
    external_id = f"{family[0].external_id}-{len(family):02}"
    name = f"{parent.company} {place.city}"
    if name in {member.name for member in family}:
        name = f"{name} {len(family)}"
    own_profile = rng.random() < 0.4
    return DemoAccount(
        external_id=external_id,
        company=parent.company,
        name=name,
        depth=parent.depth + 1,
        place=place,
        street=street_address(rng),
        parent=parent.external_id,
        billed_by=external_id if own_profile else parent.billed_by,
        currency=place.currency if own_profile else parent.currency,
        template=None,
    )


def _sites(rng: Random, accounts: list[DemoAccount]) -> list[DemoSite]:
    """Most sites are at home; the last of several is abroad, so that all countries occur."""
    places = places_by_country()
    abroad = list(places)
    rng.shuffle(abroad)
    sites: list[DemoSite] = []
    travelled = 0
    for account in accounts:
        size = rng.choices(list(_SITES_PER_ACCOUNT), list(_SITES_PER_ACCOUNT.values()))[0]
        for number in range(1, size + 1):
            place = account.place if number == 1 else _home(rng)
            if 1 < number == size:
                place = rng.choice(places[abroad[travelled % len(abroad)]])
                travelled += 1
            elif number > 1 and rng.random() < 0.6:
                place = rng.choice(places[account.place.country])
            sites.append(
                DemoSite(
                    external_id=f"{account.external_id}-S{number}",
                    account=account.external_id,
                    name=f"{place.city} {_SITE_KINDS[number - 1]}",
                    street=account.street if number == 1 else street_address(rng),
                    place=place,
                )
            )
    return sites


def _mail_domain(account: DemoAccount) -> str:
    return "".join(c for c in account.company.lower() if c.isalnum()) + ".example"


def _contact(rng: Random, external_id: str, account: DemoAccount, role: str) -> Record:
    name = person_name(rng)
    ascii_name = name.encode("ascii", "ignore").decode().lower()
    mailbox = "".join(c if c.isalnum() else "." for c in ascii_name)
    return {
        "external_id": external_id,
        "account": account.external_id,
        "name": name,
        "email": f"{mailbox}@{_mail_domain(account)}",
        "phone": f"+{rng.randint(1, 98)} 555 {rng.randint(1000, 9999)}",
        "role": role,
    }


def _contacts(rng: Random, accounts: list[DemoAccount], sites: list[DemoSite]) -> list[Record]:
    by_id = {account.external_id: account for account in accounts}
    contacts = []
    for account in accounts:
        contacts.append(_contact(rng, f"{account.external_id}-P1", account, "billing"))
        if account.depth == 0:
            contacts.append(_contact(rng, f"{account.external_id}-P2", account, "commercial"))
    for site in sites:
        if rng.random() < 0.4:
            contact = _contact(rng, f"{site.external_id}-P", by_id[site.account], "technical")
            contacts.append(contact | {"site": site.external_id})
    return contacts


def _profile(rng: Random, account: DemoAccount) -> Record:
    place = account.place
    return {
        "account": account.external_id,
        "currency": account.currency,
        "time_zone": place.time_zone,
        "cycle_day": 1,
        "payment_terms_days": rng.choices((30, 14, 45, 60), (60, 15, 15, 10))[0],
        "paper": "us-letter" if place.country in ("US", "CA") else "a4",
        "bill_to_name": account.name,
        "attention": rng.choice(("Accounts Payable", person_name(rng))),
        "street": account.street,
        "city": place.city,
        "region": place.region,
        "postal_code": place.postal_code,
        "country": place.country,
        "email": f"invoices@{_mail_domain(account)}",
        "tax_id": None if place.country == "US" else f"{place.country}{rng.randrange(10**9):09}",
        "purchase_order": f"PO-{rng.randint(10_000, 99_999)}" if rng.random() < 0.3 else None,
    }
