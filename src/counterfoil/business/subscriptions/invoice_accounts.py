"""Subscriptions that name the account they are invoiced at, and what would make that wrong."""

from collections.abc import Mapping, Sequence
from typing import cast

from counterfoil.business.accounts.rules import read_parents
from counterfoil.core.problems import Problem, line_among
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

# Accounts with subscriptions, their own or below them, that name an account above them.
_NAME_ABOVE = """
WITH RECURSIVE below AS (
    SELECT id AS top, id FROM account WHERE id = ANY(:tops)
    UNION
    SELECT b.top, a.id FROM account a JOIN below b ON a.parent_id = b.id
)
SELECT b.top, min(s.external_id) AS subscription
FROM below b JOIN subscription s ON s.account_id = b.id
WHERE s.invoice_account_id IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM below o WHERE o.top = b.top AND o.id = s.invoice_account_id)
GROUP BY b.top
"""

_NAMED = """
SELECT invoice_account_id AS account_id, min(external_id) AS subscription FROM subscription
WHERE invoice_account_id = ANY(:accounts) GROUP BY invoice_account_id
"""


def find_wrong_invoice_accounts(uow: UnitOfWork, rows: Sequence[Record]) -> list[Problem]:
    """Named accounts that are not above the subscription's, that are not invoiced, or below which
    another one must be."""
    naming = [
        (place, row) for place, row in enumerate(rows) if row["invoice_account_id"] is not None
    ]
    if not naming:
        return []
    parents = read_parents(uow, {cast("int", row["account_id"]) for _, row in naming})
    profiles = uow.query(
        "SELECT p.account_id, p.invoice_at_this_level AS level, a.external_id"
        " FROM billing_profile p JOIN account a ON a.id = p.account_id"
        " WHERE p.account_id = ANY(:accounts)",
        accounts=[*parents, *(row["invoice_account_id"] for _, row in naming)],
    )
    levels = {cast("int", row["account_id"]): row for row in profiles}
    problems: list[Problem] = []
    for place, row in naming:
        message = _find_fault(
            cast("int", row["account_id"]), cast("int", row["invoice_account_id"]), parents, levels
        )
        if message is not None:
            line = place + 1 if len(rows) > 1 else None
            said = f"subscription {row['external_id']}: {message}"
            problems.append(Problem("wrong_invoice_account", said, "invoice_account_id", line=line))
    return problems


def _find_fault(
    account: int, named: int, parents: Mapping[int, int | None], levels: Mapping[int, Record]
) -> str | None:
    """Why a subscription of the account cannot be invoiced at the named one, if it cannot."""
    if not is_above(named, account, parents):
        return "can be invoiced at its own account or at one above it only"
    level = levels.get(named)
    if level is None:
        return "the account it is to be invoiced at has no billing profile"
    if level["level"] == "no":
        return f"account {level['external_id']} is not invoiced: its billing profile says no"
    current: int | None = account
    while current is not None and current != named:
        between = levels.get(current)
        if between is not None and between["level"] == "required":
            return (
                f"cannot be invoiced above account {between['external_id']}, which must be "
                "invoiced itself (its billing profile says required)"
            )
        current = parents.get(current)
    return None


def check_invoice_levels(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """A profile stays such that the subscriptions that name an account can be invoiced there."""
    changed = [
        place
        for place, (row, old) in enumerate(zip(rows, old_rows, strict=True))
        if old is None or old["invoice_at_this_level"] != row["invoice_at_this_level"]
    ]
    passed_by = {
        rows[place]["account_id"]: place
        for place in changed
        if rows[place]["invoice_at_this_level"] == "no"
    }
    named = uow.query(_NAMED, accounts=list(passed_by)) if passed_by else []
    problems = [
        Problem(
            "invoice_account_in_use",
            f"subscription {row['subscription']} is to be invoiced here",
            "invoice_at_this_level",
            line=line_among(rows, passed_by[row["account_id"]]),
        )
        for row in named
    ]
    required = [place for place in changed if rows[place]["invoice_at_this_level"] == "required"]
    return problems + _find_naming_above(uow, rows, required, "account_id", "invoice_at_this_level")


def find_subscriptions_that_name_above(
    uow: UnitOfWork, rows: Sequence[Record], places: Sequence[int]
) -> list[Problem]:
    """Problems of the accounts at these places, which get another parent, when subscriptions in
    or below them are to be invoiced at an account above them."""
    return _find_naming_above(uow, rows, places, "id", "parent_id")


def _find_naming_above(
    uow: UnitOfWork, rows: Sequence[Record], places: Sequence[int], account: str, field: str
) -> list[Problem]:
    if not places:
        return []
    tops = {rows[place][account]: place for place in places}
    return [
        Problem(
            "invoice_account_in_use",
            f"subscription {row['subscription']} is to be invoiced at an account above this one",
            field,
            line=line_among(rows, tops[row["top"]]),
        )
        for row in uow.query(_NAME_ABOVE, tops=list(tops))
    ]


def is_above(upper: int, lower: int, parents: Mapping[int, int | None]) -> bool:
    """Whether the upper account is the lower one or one of its ancestors."""
    current: int | None = lower
    while current is not None and current != upper:
        current = parents.get(current)
    return current == upper
