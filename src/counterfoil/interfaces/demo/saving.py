"""Saves the demo's customers, prices and subscriptions through the rooms' ordinary commands.

Each function is one transaction and may be repeated: what is there already, recognised by its
external id, is left as it is.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.business.subscriptions.commands import (
    activate_subscriptions,
    cancel_subscriptions,
    change_quantity,
)
from counterfoil.core.problems import Refused
from counterfoil.interfaces.demo.organisation import (
    TEMPLATES,
    DemoAccount,
    DemoOrganisation,
    DemoSite,
    seller_record,
)
from counterfoil.interfaces.demo.subscriptions import DemoSubscriptions
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

Ids = Mapping[object, int]


def save_organisation(
    database: Database, organisation: DemoOrganisation, *, now: datetime
) -> dict[str, int]:
    """Create the seller and the customers; returns how many records of each entity were new."""
    created: dict[str, int] = {}
    with database.transaction(now=now) as uow:
        if not uow.list("seller", limit=1).records:
            uow.create("seller", seller_record())
            created["seller"] = 1
        templates: list[Record] = [
            {"external_id": external_id, "name": name} for external_id, name in TEMPLATES.items()
        ]
        created["pricing_template"] = _create_missing(uow, "pricing_template", templates)
        template_ids = uow.ids_by("pricing_template", "external_id", TEMPLATES)
        created["account"] = _save_accounts(uow, organisation.accounts, template_ids)
        names = [account.external_id for account in organisation.accounts]
        accounts = uow.ids_by("account", "external_id", names)
        sites = [_site_record(site, accounts) for site in organisation.sites]
        created["site"] = _create_missing(uow, "site", sites)
        site_ids = uow.ids_by("site", "external_id", [site["external_id"] for site in sites])
        contacts = [
            _resolved(row, {"account": accounts, "site": site_ids}) for row in organisation.contacts
        ]
        created["contact"] = _create_missing(uow, "contact", contacts)
        profiles = [_resolved(row, {"account": accounts}) for row in organisation.billing_profiles]
        created["billing_profile"] = _create_missing(
            uow, "billing_profile", profiles, key="account_id"
        )
    return created


def _create_missing(
    uow: UnitOfWork, entity: str, rows: Sequence[Record], key: str = "external_id"
) -> int:
    there = uow.ids_by(entity, key, [row[key] for row in rows])
    missing = [row for row in rows if row[key] not in there]
    if missing:
        uow.create_many(entity, missing)
    return len(missing)


def _resolved(row: Record, targets: Mapping[str, Ids]) -> Record:
    """The row with ``account: C0001`` become ``account_id: 17``."""
    result = {name: value for name, value in row.items() if name not in targets}
    for name, ids in targets.items():
        if name in row:
            result[f"{name}_id"] = ids[row[name]]
    return result


def _save_accounts(uow: UnitOfWork, accounts: Sequence[DemoAccount], templates: Ids) -> int:
    """Level by level, because a division names its parent."""
    created = 0
    for depth in sorted({account.depth for account in accounts}):
        level = [account for account in accounts if account.depth == depth]
        parents = uow.ids_by("account", "external_id", {a.parent for a in level if a.parent})
        rows: list[Record] = [
            {
                "external_id": account.external_id,
                "name": account.name,
                "parent_id": parents[account.parent] if account.parent else None,
                "pricing_template_id": templates[account.template] if account.template else None,
            }
            for account in level
        ]
        created += _create_missing(uow, "account", rows)
    return created


def _site_record(site: DemoSite, accounts: Ids) -> Record:
    place = site.place
    return {
        "external_id": site.external_id,
        "account_id": accounts[site.account],
        "name": site.name,
        "street": site.street,
        "city": place.city,
        "region": place.region,
        "postal_code": place.postal_code,
        "country": place.country,
        "p_code": place.p_code,
        "time_zone": place.time_zone,
    }


def save_prices(database: Database, text: str, file: str, *, now: datetime) -> int:
    """Save the price book unless its rate plans are there; how many records were new.

    Later changes of the prices by a person are so left alone. Refuses every problem with its line
    in ``file``.
    """
    book, problems = parse_price_book(text, file)
    if problems:
        raise Refused(problems)
    plans = [entry.external_id for entry in book.of_entity("rate_plan")]
    with database.transaction(now=now) as uow:
        if len(uow.ids_by("rate_plan", "external_id", plans)) == len(plans):
            return 0
        counts = save_price_book(uow, book)
    return sum(count for name, count in counts.items() if name.endswith("_created"))


def save_subscriptions(
    database: Database, subscriptions: DemoSubscriptions, *, now: datetime
) -> dict[str, int]:
    """Activate what is not active yet, with its changes and cancellations; returns the counts."""
    names = [activation.external_id for activation in subscriptions.activations]
    with database.transaction(now=now) as uow:
        there = uow.ids_by("subscription", "external_id", names)
        missing = [one for one in subscriptions.activations if one.external_id not in there]
        new = {one.external_id for one in missing}
        changes = [one for one in subscriptions.changes if one.subscription in new]
        ending = [one for one in subscriptions.cancellations if one.subscription in new]
        if missing:
            activate_subscriptions(uow, missing)
        ids = uow.ids_by("subscription", "external_id", new)
        for change in changes:
            subscription_id = ids[change.subscription]
            change_quantity(uow, subscription_id, "room", change.quantity, change.from_date)
        for end_date in sorted({one.end_date for one in ending}):
            ended = [ids[one.subscription] for one in ending if one.end_date == end_date]
            cancel_subscriptions(uow, ended, end_date)
    return {
        "subscription": len(missing),
        "quantity_change": len(changes),
        "cancellation": len(ending),
    }
