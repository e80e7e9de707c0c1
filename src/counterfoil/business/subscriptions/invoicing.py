"""Which account is invoiced for a subscription: the one place that says so, as SQL.

The profile of every account says whether it is invoiced itself: ``required``, ``optional`` or
``no``. A subscription is invoiced at the account it names, which says optional or required, else at
the nearest account at or above its own that says required.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


def invoiced(profiles: str = "true") -> str:
    """CTEs for a WITH RECURSIVE that tell who is invoiced, of the profiles ``p`` the condition
    names.

    ``invoiced_account``: account_id, billed_account_id of what the accounts' subscriptions come to
    that name no account. ``invoiced``: subscription_id, account_id, billed_account_id.
    """
    return f"""
invoiced_account AS (
    SELECT p.account_id, p.account_id AS billed_account_id FROM billing_profile p
    WHERE p.invoice_at_this_level = 'required' AND {profiles}
    UNION ALL
    SELECT a.id, i.billed_account_id
    FROM account a JOIN invoiced_account i ON a.parent_id = i.account_id
    WHERE NOT EXISTS (SELECT 1 FROM billing_profile q
                      WHERE q.account_id = a.id AND q.invoice_at_this_level = 'required')
), invoiced AS (
    SELECT s.id AS subscription_id, s.account_id, i.billed_account_id
    FROM subscription s JOIN invoiced_account i USING (account_id)
    WHERE s.invoice_account_id IS NULL
    UNION ALL
    SELECT s.id, s.account_id, s.invoice_account_id
    FROM subscription s JOIN billing_profile p ON p.account_id = s.invoice_account_id
    WHERE {profiles}
)
"""


_INVOICED_FOR = """
WITH RECURSIVE up AS (
    SELECT external_id AS name, id, external_id, parent_id, 0 AS distance FROM account
    WHERE external_id = ANY(:names)
    UNION ALL
    SELECT up.name, a.id, a.external_id, a.parent_id, up.distance + 1
    FROM account a JOIN up ON a.id = up.parent_id
)
SELECT DISTINCT ON (up.name) up.name, up.id, up.external_id, p.id IS NOT NULL AS billed,
       p.currency, p.time_zone
FROM up LEFT JOIN billing_profile p ON p.account_id = up.id
 AND (p.invoice_at_this_level = 'required'
      OR p.invoice_at_this_level = 'optional' AND up.distance = 0)
ORDER BY up.name, p.id IS NULL, up.distance
"""


_PROFILES_OF = """
WITH RECURSIVE up AS (
    SELECT s.id AS subscription_id, a.id, a.parent_id, 0 AS distance,
           s.invoice_account_id IS NOT NULL AS named
    FROM subscription s JOIN account a ON a.id = coalesce(s.invoice_account_id, s.account_id)
    WHERE s.id = ANY(:subscriptions)
    UNION ALL
    SELECT up.subscription_id, a.id, a.parent_id, up.distance + 1, false
    FROM up JOIN account a ON a.id = up.parent_id
)
SELECT DISTINCT ON (up.subscription_id) up.subscription_id, p.currency, p.time_zone, p.cycle_day
FROM up JOIN billing_profile p ON p.account_id = up.id
 AND (up.named OR p.invoice_at_this_level = 'required')
ORDER BY up.subscription_id, up.distance
"""


def profiles_of(uow: UnitOfWork, subscriptions: Sequence[int]) -> dict[int, Record]:
    """By subscription (id) the currency, time_zone and cycle_day by which it is billed; none of
    those that are invoiced nowhere."""
    rows = uow.query(_PROFILES_OF, subscriptions=list(subscriptions))
    return {cast("int", row["subscription_id"]): row for row in rows}


_PROFILES_OF_ACCOUNTS = """
WITH RECURSIVE up AS (
    SELECT a.id AS account_id, a.id, a.parent_id, 0 AS distance
    FROM account a WHERE a.id = ANY(:accounts)
    UNION ALL
    SELECT up.account_id, a.id, a.parent_id, up.distance + 1
    FROM up JOIN account a ON a.id = up.parent_id
)
SELECT DISTINCT ON (up.account_id) up.account_id, p.currency, p.time_zone, p.cycle_day
FROM up JOIN billing_profile p ON p.account_id = up.id
 AND (p.invoice_at_this_level = 'required'
      OR p.invoice_at_this_level = 'optional' AND up.distance = 0)
ORDER BY up.account_id, up.distance
"""


def profiles_of_accounts(uow: UnitOfWork, accounts: Sequence[int]) -> dict[int, Record]:
    """By account (id) the currency, time_zone and cycle_day of :func:`who_is_billed`; none of
    those that nobody is billed for."""
    rows = uow.query(_PROFILES_OF_ACCOUNTS, accounts=list(accounts))
    return {cast("int", row["account_id"]): row for row in rows}


@dataclass(frozen=True, slots=True)
class BilledAccount:
    """An account that is invoiced, and what its bills go by."""

    id: int
    external_id: str
    currency: str
    time_zone: str


def billed_account(uow: UnitOfWork, external_id: str) -> int:
    """Id of :func:`who_is_billed`."""
    return who_is_billed(uow, external_id).id


def who_is_billed(uow: UnitOfWork, external_id: str) -> BilledAccount:
    """The account that is invoiced for this account: itself unless its profile says no, else the
    nearest one above that says required.

    Refuses (404) an unknown account and (422) one that nobody is billed for.
    """
    return who_are_billed(uow, [external_id])[external_id]


def who_are_billed(uow: UnitOfWork, external_ids: Collection[str]) -> dict[str, BilledAccount]:
    """:func:`who_is_billed` for many accounts, by external id, in one query."""
    names = sorted(set(external_ids))
    found = {str(row["name"]): row for row in uow.query(_INVOICED_FOR, names=names)}
    unknown = [
        Problem("unknown_account", f"there is no account {name!r}", "account")
        for name in names
        if name not in found
    ]
    if unknown:
        raise Refused(unknown, status=404)
    nobody = [
        Problem(
            "no_billing_profile",
            f"neither account {name!r} nor an account above it has a billing profile by which it "
            "is invoiced",
            "account",
        )
        for name in names
        if not found[name]["billed"]
    ]
    if nobody:
        raise Refused(nobody)
    return {
        name: BilledAccount(int(row["id"]), row["external_id"], row["currency"], row["time_zone"])
        for name, row in found.items()
    }
