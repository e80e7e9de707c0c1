"""The notation of scenario files: text in, a Scenario and its line-numbered problems out."""

from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml

from counterfoil.business.accounts.countries import country_codes, unknown_country
from counterfoil.core.money.currencies import CURRENCIES, unknown_currency
from counterfoil.core.notation.located import Entry, Kind, Reader, Rule, Rules
from counterfoil.core.periods.zones import known_time_zone
from counterfoil.core.problems import Problem
from counterfoil.interfaces.scenarios.price_books import (
    INCENTIVES,
    PRICE_BOOK,
    read_part,
    read_text,
)
from counterfoil.interfaces.scenarios.scenario import (
    AccountEntry,
    ContactEntry,
    ContractEntry,
    Scenario,
    SiteEntry,
)
from counterfoil.interfaces.scenarios.timeline import TimelineReader

SCENARIO: Rules = {
    "scenario": Rule(required=True),
    "source": Rule(default=""),
    "note": Rule(default=""),
    **PRICE_BOOK,
    **INCENTIVES,
    "accounts": Rule(kind=Kind.NODE, required=True),
    "timeline": Rule(kind=Kind.NODE, required=True),
}
ACCOUNT: Rules = {
    "id": Rule(required=True),
    "name": Rule(),
    "parent": Rule(),
    "currency": Rule(),
    "time_zone": Rule(default="UTC"),
    "cycle_day": Rule(kind=Kind.INTEGER, default=1, minimum=1, maximum=31),
    "payment_terms_days": Rule(kind=Kind.INTEGER, default=30, minimum=0, maximum=365),
    "invoice_at_this_level": Rule(choices=("no", "optional", "required"), default="required"),
    "purchase_order": Rule(),
    "split_by": Rule(choices=("none", "site", "purchase_order"), default="none"),
    "zero_amount": Rule(choices=("issue", "suppress", "carry"), default="issue"),
    "pricing_template": Rule(),
    "pool_node": Rule(kind=Kind.BOOLEAN, default=False),
    "price_region": Rule(),
    "sites": Rule(kind=Kind.NODE),
    "contacts": Rule(kind=Kind.NODE),
    "contracts": Rule(kind=Kind.NODE),
}
SITE: Rules = {
    "id": Rule(required=True),
    "name": Rule(),
    "country": Rule(default="US"),
    "time_zone": Rule(),
    "price_region": Rule(),
}
CONTACT: Rules = {"id": Rule(required=True), "name": Rule()}
CONTRACT: Rules = {
    "id": Rule(required=True),
    "name": Rule(),
    "start": Rule(kind=Kind.DATE, required=True),
    "end": Rule(kind=Kind.DATE),
    "months": Rule(kind=Kind.INTEGER, minimum=1, maximum=1200),
}
BILLING_FIELDS = (
    *("time_zone", "cycle_day", "payment_terms_days", "invoice_at_this_level"),
    *("purchase_order", "split_by", "zero_amount"),
)


def read_scenario(path: Path) -> tuple[Scenario | None, list[Problem]]:
    """A scenario file from disk; a file that cannot be read as UTF-8 text is a problem too."""
    text, problem = read_text(path)
    if problem is not None:
        return None, [problem]
    return parse_scenario(text, str(path), folder=path.parent)


def parse_scenario(
    text: str, file: str, *, folder: Path | None = None
) -> tuple[Scenario | None, list[Problem]]:
    """Read a scenario. Price book files are looked for below ``folder``; None allows none.

    Returns no scenario when there is any problem. Price books are checked when they are loaded,
    by the products room; their problems bear the line numbers of this file as well.
    """
    reader = Reader(file)
    root = reader.document(text)
    entry = reader.entry(root, SCENARIO, "") if root is not None else None
    if entry is None:
        return None, reader.problems
    price_book = read_part(reader, entry, text, folder, "price_book")
    incentives = read_part(reader, entry, text, folder, "incentives")
    accounts = _read_accounts(reader, entry["accounts"])
    timeline = TimelineReader(reader, text, folder, accounts, _billing_zones(accounts))
    steps = timeline.read(entry["timeline"])
    if reader.problems:
        return None, sorted(reader.problems, key=lambda problem: problem.line or 0)
    scenario = Scenario(
        file=file,
        name=entry["scenario"],
        source=entry["source"],
        note=entry["note"],
        price_book=price_book,
        incentives=incentives,
        accounts=accounts,
        timeline=steps,
    )
    return scenario, []


def _read_accounts(reader: Reader, node: yaml.Node | None) -> tuple[AccountEntry, ...]:
    accounts: dict[str, AccountEntry] = {}
    for position, item in enumerate(reader.items(node, "accounts")):
        place = f"accounts[{position}]"
        entry = reader.entry(item, ACCOUNT, place)
        if entry is None or entry["id"] is None:
            continue
        _check_account(reader, entry, accounts, place)
        accounts[entry["id"]] = AccountEntry(
            line=entry.line,
            external_id=entry["id"],
            name=entry["name"] or entry["id"],
            parent=entry["parent"],
            currency=entry["currency"],
            time_zone=entry["time_zone"],
            cycle_day=entry["cycle_day"],
            payment_terms_days=entry["payment_terms_days"],
            invoice_at_this_level=entry["invoice_at_this_level"] or "required",
            purchase_order=entry["purchase_order"],
            split_by=entry["split_by"] or "none",
            zero_amount=entry["zero_amount"] or "issue",
            pricing_template=entry["pricing_template"],
            pool_node=entry["pool_node"],
            price_region=entry["price_region"],
            sites=_read_sites(reader, entry["sites"], place),
            contacts=_read_contacts(reader, entry["contacts"], place),
            contracts=_read_contracts(reader, entry["contracts"], place),
        )
    return tuple(accounts.values())


def _check_account(
    reader: Reader, entry: Entry, before: dict[str, AccountEntry], place: str
) -> None:
    if entry["id"] in before:
        message = f"account {entry['id']} stands here twice"
        reader.refuse("double_account", message, entry.line_of("id"), f"{place}.id")
    parent = entry["parent"]
    if parent is not None and parent not in before:
        message = f"no account {parent!r} stands above this one"
        line = entry.line_of("parent")
        reader.refuse("unknown_account", message, line, f"{place}.parent", tuple(before))
    if parent is None and entry["currency"] is None:
        message = "is missing: an account without parent needs it to be billed"
        reader.refuse("missing", message, entry.line, f"{place}.currency")
    if entry["currency"] is not None and entry["currency"] not in CURRENCIES:
        problem = unknown_currency(entry["currency"], f"{place}.currency")
        line = entry.line_of("currency")
        reader.refuse(problem.code, problem.message, line, problem.field, problem.allowed)
    if not known_time_zone(entry["time_zone"]):
        message = f"{entry['time_zone']!r} is no IANA time zone"
        line = entry.line_of("time_zone")
        examples = ("UTC", "America/New_York", "Europe/Paris", "…")
        reader.refuse("unknown_time_zone", message, line, f"{place}.time_zone", examples)
        entry.values["time_zone"] = "UTC"
    if entry["currency"] is None:
        for name in BILLING_FIELDS:
            if name in entry.lines:
                message = "goes with a currency: this account is billed through its parent"
                reader.refuse("not_billed", message, entry.line_of(name), f"{place}.{name}")


def _read_sites(reader: Reader, node: yaml.Node | None, place: str) -> tuple[SiteEntry, ...]:
    sites = []
    for position, item in enumerate(reader.items(node, f"{place}.sites")):
        entry = reader.entry(item, SITE, f"{place}.sites[{position}]")
        if entry is None or entry["id"] is None:
            continue
        if entry["country"] not in country_codes():
            line = entry.line_of("country")
            problem = unknown_country(entry["country"], line)
            field = f"{place}.sites[{position}].country"
            reader.refuse(problem.code, problem.message, line, field, problem.allowed)
        name = entry["name"] or entry["id"]
        site = SiteEntry(
            entry["id"],
            name,
            entry["country"],
            entry["time_zone"],
            entry["price_region"],
            entry.line,
        )
        sites.append(site)
    return tuple(sites)


def _read_contacts(reader: Reader, node: yaml.Node | None, place: str) -> tuple[ContactEntry, ...]:
    return tuple(
        ContactEntry(entry["id"], entry["name"] or entry["id"])
        for entry in _entries(reader, node, CONTACT, f"{place}.contacts")
    )


def _read_contracts(
    reader: Reader, node: yaml.Node | None, place: str
) -> tuple[ContractEntry, ...]:
    return tuple(
        ContractEntry(
            entry["id"], entry["name"] or entry["id"], entry["start"], entry["end"], entry["months"]
        )
        for entry in _entries(reader, node, CONTRACT, f"{place}.contracts")
        if entry["start"] is not None
    )


def _entries(reader: Reader, node: yaml.Node | None, rules: Rules, place: str) -> list[Entry]:
    """The mappings of a list that have an id."""
    found = [
        reader.entry(item, rules, f"{place}[{position}]")
        for position, item in enumerate(reader.items(node, place))
    ]
    return [entry for entry in found if entry is not None and entry["id"] is not None]


def _billing_zones(accounts: Sequence[AccountEntry]) -> dict[str, ZoneInfo]:
    """Account to the time zone of the profile that bills it: its own when it must be invoiced, or
    its nearest ancestor's that must."""
    zones: dict[str, ZoneInfo] = {}
    for account in accounts:
        invoiced = account.currency is not None and account.invoice_at_this_level == "required"
        if invoiced or account.parent is None:
            zones[account.external_id] = ZoneInfo(account.time_zone)
        else:
            zones[account.external_id] = zones.get(account.parent, ZoneInfo("UTC"))
    return zones
