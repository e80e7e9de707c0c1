"""The accounts of a scenario as records, level by level of their tree."""

from collections.abc import Sequence

from counterfoil.business.incentives.commands import save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.scenarios.scenario import AccountEntry, LocatedText, Scenario
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


def set_scene(uow: UnitOfWork, scenario: Scenario) -> None:
    """Save accounts, then prices (which may name accounts), templates and incentives."""
    ids = _create_accounts(uow, scenario.accounts)
    if scenario.price_book is not None:
        load_price_book(uow, scenario.price_book)
    _assign_templates(uow, scenario, ids)
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
                "account_id": ids[entry.external_id],
            }
            for entry in accounts
            for site in entry.sites
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
    }


def _assign_templates(uow: UnitOfWork, scenario: Scenario, ids: dict[str, int]) -> None:
    entries = [entry for entry in scenario.accounts if entry.pricing_template is not None]
    names = {entry.pricing_template for entry in entries}
    templates = uow.ids_by("pricing_template", "external_id", names)
    problems = [
        Problem(
            "unknown_pricing_template",
            f"there is no pricing template {entry.pricing_template!r} in the price book",
            f"accounts.{entry.external_id}.pricing_template",
            tuple(str(name) for name in templates),
            scenario.file,
            entry.line,
        )
        for entry in entries
        if entry.pricing_template not in templates
    ]
    if problems:
        raise Refused(problems)
    changes: list[tuple[int, Record]] = [
        (ids[entry.external_id], {"pricing_template_id": templates[entry.pricing_template]})
        for entry in entries
    ]
    uow.update_many("account", changes)
