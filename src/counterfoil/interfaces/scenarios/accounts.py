"""The accounts of a scenario as records, level by level of their tree."""

from collections.abc import Sequence

from counterfoil.business.incentives.commands import save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.scenarios.scenario import (
    AccountEntry,
    LocatedText,
    Scenario,
    SiteEntry,
)
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


def set_scene(uow: UnitOfWork, scenario: Scenario) -> None:
    """Save accounts, prices (which may name accounts), what accounts have of them, incentives."""
    ids = _create_accounts(uow, scenario.accounts)
    if scenario.price_book is not None:
        load_price_book(uow, scenario.price_book)
    sites = uow.ids_by(
        "site",
        "external_id",
        [site.external_id for entry in scenario.accounts for site in entry.sites],
    )
    of_accounts = [(ids[entry.external_id], entry) for entry in scenario.accounts]
    of_sites = [
        (sites[site.external_id], site) for entry in scenario.accounts for site in entry.sites
    ]
    _point(uow, scenario, "account", "pricing_template", of_accounts)
    _point(uow, scenario, "account", "price_region", of_accounts)
    _point(uow, scenario, "site", "price_region", of_sites)
    if scenario.incentives is not None:
        load_incentives(uow, scenario.incentives)


def load_price_book(uow: UnitOfWork, book: LocatedText) -> None:
    """Parse and save a price book; refuses a faulty one with the lines of its file."""
    parsed, problems = parse_price_book(book.text, book.file)
    if problems:
        raise Refused(problems)
    save_price_book(uow, parsed)


def load_incentives(uow: UnitOfWork, incentives: LocatedText) -> None:
    """Parse and save incentives; refuses faulty ones with the lines of their file."""
    parsed, problems = parse_incentives(incentives.text, incentives.file)
    if problems:
        raise Refused(problems)
    save_incentives(uow, parsed)


def _create_accounts(uow: UnitOfWork, accounts: Sequence[AccountEntry]) -> dict[str, int]:
    ids: dict[str, int] = {}
    waiting = list(accounts)
    while waiting:
        level = [entry for entry in waiting if entry.parent is None or entry.parent in ids]
        waiting = [entry for entry in waiting if entry not in level]
        created = uow.create_many("account", [_account(entry, ids) for entry in level])
        ids.update(zip((entry.external_id for entry in level), created, strict=True))
    uow.create_many("billing_profile", [_profile(e, ids) for e in accounts if e.currency])
    uow.create_many(
        "site",
        [
            {
                "external_id": site.external_id,
                "name": site.name,
                "country": site.country,
                "time_zone": site.time_zone,
                "account_id": ids[entry.external_id],
            }
            for entry in accounts
            for site in entry.sites
        ],
    )
    uow.create_many(
        "contact",
        [
            {
                "external_id": contact.external_id,
                "name": contact.name,
                "account_id": ids[entry.external_id],
            }
            for entry in accounts
            for contact in entry.contacts
        ],
    )
    uow.create_many(
        "contract",
        [
            {
                "external_id": contract.external_id,
                "name": contract.name,
                "account_id": ids[entry.external_id],
                "start_date": contract.start,
                "end_date": contract.end,
                "months": contract.months,
            }
            for entry in accounts
            for contract in entry.contracts
        ],
    )
    return ids


def _account(entry: AccountEntry, ids: dict[str, int]) -> Record:
    parent = None if entry.parent is None else ids[entry.parent]
    return {
        "external_id": entry.external_id,
        "name": entry.name,
        "parent_id": parent,
        "pool_node": entry.pool_node,
    }


def _profile(entry: AccountEntry, ids: dict[str, int]) -> Record:
    return {
        "account_id": ids[entry.external_id],
        "currency": entry.currency,
        "time_zone": entry.time_zone,
        "cycle_day": entry.cycle_day,
        "payment_terms_days": entry.payment_terms_days,
        "invoice_at_this_level": entry.invoice_at_this_level,
        "purchase_order": entry.purchase_order,
        "split_by": entry.split_by,
        "zero_amount": entry.zero_amount,
    }


def _point(
    uow: UnitOfWork,
    scenario: Scenario,
    entity: str,
    target: str,
    entries: Sequence[tuple[int, AccountEntry | SiteEntry]],
) -> None:
    """Give accounts or sites the pricing template or price region they name."""
    named = [(record, entry, getattr(entry, target)) for record, entry in entries]
    named = [each for each in named if each[2] is not None]
    known = uow.ids_by(target, "external_id", {name for _, _, name in named})
    problems = [
        Problem(
            f"unknown_{target}",
            f"there is no {target.replace('_', ' ')} {name!r} in the price book",
            f"{entity}s.{entry.external_id}.{target}",
            tuple(str(each) for each in known),
            scenario.file,
            entry.line,
        )
        for _, entry, name in named
        if name not in known
    ]
    if problems:
        raise Refused(problems)
    uow.update_many(entity, [(record, {f"{target}_id": known[name]}) for record, _, name in named])
