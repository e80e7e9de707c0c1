"""What records of this room, and accounts that have subscriptions, must obey."""

from datetime import date
from typing import cast

from counterfoil.business.accounts.rules import read_parents
from counterfoil.business.subscriptions.invoice_accounts import (
    check_invoice_levels,
    find_subscriptions_that_name_above,
    find_wrong_invoice_accounts,
    is_above,
)
from counterfoil.core.problems import Problem, line_among
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import RecordCheck, UnitOfWork


def check_moved_accounts(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """An account with subscriptions, its own or below it, stays in its tree.

    Its usage is stored under the root of the tree. Runs after the accounts' own rule, which
    fills in the new root.
    """
    moved = {
        row["id"]: place
        for place, (row, old) in enumerate(zip(rows, old_rows, strict=True))
        if old is not None and old["root_id"] != row["root_id"]
    }
    problems = find_subscriptions_that_name_above(
        uow,
        rows,
        [
            place
            for place, (row, old) in enumerate(zip(rows, old_rows, strict=True))
            if old is not None and old["parent_id"] != row["parent_id"]
        ],
    )
    if not moved:
        return problems
    holders = uow.query(
        "WITH RECURSIVE below AS ("
        "SELECT id, id AS top FROM account WHERE id = ANY(:moved)"
        " UNION SELECT account.id, below.top FROM account"
        " JOIN below ON account.parent_id = below.id) "
        "SELECT DISTINCT below.top FROM below JOIN subscription ON subscription.account_id = "
        "below.id ORDER BY 1",
        moved=list(moved),
    )
    message = "has subscriptions, its own or below it, and cannot move to another tree of accounts"
    return problems + [
        Problem("account_in_use", message, "parent_id", line=line_among(rows, moved[holder["top"]]))
        for holder in holders
    ]


def check_subscriptions(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """A subscription ends after it starts, and its site lies in its line of the account tree.

    One that was cancelled before its start ends on its start date.
    """
    problems: list[Problem] = []
    for place, (row, old) in enumerate(zip(rows, old_rows, strict=True)):
        starts, ends = cast("date", row["start_date"]), cast("date | None", row["end_date"])
        if ends is not None and (ends < starts or (ends == starts and old is None)):
            message = f"{ends} is not after the start date, {starts}"
            problems.append(
                Problem("ends_before_start", message, "end_date", line=line_among(rows, place))
            )
    for field, entity in (("site_id", "site"), ("contact_id", "contact")):
        problems += _find_foreign(uow, rows, field, entity)
    problems += _find_foreign_contracts(uow, rows)
    return problems + find_wrong_invoice_accounts(uow, rows)


def check_contracts(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """A contract ends after it starts."""
    del uow, old_rows
    return [
        Problem(
            "ends_before_start",
            f"{row['end_date']} is not after the start date, {row['start_date']}",
            "end_date",
            line=line_among(rows, place),
        )
        for place, row in enumerate(rows)
        if row["end_date"] is not None and row["end_date"] <= row["start_date"]
    ]


def check_subscription_charges(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """Quantities are not negative, and no charge ends before it starts."""
    del uow, old_rows
    problems: list[Problem] = []
    for place, row in enumerate(rows):
        line = line_among(rows, place)
        if cast("int", row["quantity"]) < 0:
            message = f"{row['quantity']} is less than 0"
            problems.append(Problem("negative", message, "quantity", line=line))
        ends = cast("date | None", row["end_date"])
        if ends is not None and ends < cast("date", row["start_date"]):
            message = f"{ends} is before the start date, {row['start_date']}"
            problems.append(Problem("ends_before_start", message, "end_date", line=line))
    return problems


def _find_foreign(uow: UnitOfWork, rows: list[Record], field: str, entity: str) -> list[Problem]:
    """Sites or contacts that belong neither to the account nor to one above or below it."""
    owners = _read_owners(uow, rows, field, entity)
    accounts = {cast("int", row["account_id"]) for row in rows if row[field] in owners}
    if all(owners.get(row[field]) in (None, row["account_id"]) for row in rows):
        return []
    parents = read_parents(uow, accounts | set(owners.values()))
    problems: list[Problem] = []
    for place, row in enumerate(rows):
        owner, account = owners.get(row[field]), cast("int", row["account_id"])
        if owner is None or is_above(owner, account, parents):
            continue
        if not is_above(account, owner, parents):
            message = "belongs neither to the account nor to one above or below it"
            problems.append(
                Problem(f"wrong_{entity}", message, field, line=line_among(rows, place))
            )
    return problems


def _find_foreign_contracts(uow: UnitOfWork, rows: list[Record]) -> list[Problem]:
    """Contracts that are made neither with the account nor with one above it."""
    owners = _read_owners(uow, rows, "contract_id", "contract")
    if all(owners.get(row["contract_id"]) in (None, row["account_id"]) for row in rows):
        return []
    parents = read_parents(uow, {cast("int", row["account_id"]) for row in rows})
    message = "is a contract neither with the account nor with one above it"
    return [
        Problem("wrong_contract", message, "contract_id", line=line_among(rows, place))
        for place, row in enumerate(rows)
        if row["contract_id"] in owners
        and not is_above(owners[row["contract_id"]], cast("int", row["account_id"]), parents)
    ]


def _read_owners(uow: UnitOfWork, rows: list[Record], field: str, entity: str) -> dict[object, int]:
    """The account of each site, contact or contract the rows name."""
    named = [row[field] for row in rows if row[field] is not None]
    if not named:
        return {}
    found = uow.query(f'SELECT id, account_id FROM "{entity}" WHERE id = ANY(:ids)', ids=named)
    return {row["id"]: cast("int", row["account_id"]) for row in found}


CHECKS: dict[str, RecordCheck] = {
    "account": check_moved_accounts,
    "billing_profile": check_invoice_levels,
    "contract": check_contracts,
    "subscription": check_subscriptions,
    "subscription_charge": check_subscription_charges,
}
