"""What billing does not let others change, once something has been billed with it."""

from collections.abc import Iterable, Sequence

from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import RecordCheck, UnitOfWork

_CALENDAR = ("currency", "time_zone", "cycle_day")
_CHARGE_TERMS = ("event_minimum", "event_increment", "unit_size", "unit_rounding", "proration")
_METER_TERMS = (
    "aggregation",
    "quantity_attribute",
    "property",
    "percentile",
    "filter",
    "carried_over",
)

_BILLED_PROFILES = """
SELECT DISTINCT account_id AS id FROM invoice WHERE account_id = ANY(:ids)
"""

# Accounts of which something was billed through an ancestor: their own subscriptions, or those of
# accounts below that are not invoiced themselves either.
_BILLED_ABOVE = """
WITH RECURSIVE below AS (
    SELECT id AS top, id FROM account WHERE id = ANY(:ids)
    UNION ALL
    SELECT b.top, a.id FROM account a JOIN below b ON a.parent_id = b.id
    WHERE NOT EXISTS (SELECT 1 FROM billing_profile p
                      WHERE p.account_id = a.id AND p.invoice_at_this_level = 'required')
)
SELECT DISTINCT b.top AS id
FROM below b
JOIN subscription s ON s.account_id = b.id
JOIN subscription_charge sc ON sc.subscription_id = s.id
WHERE sc.billed_through IS NOT NULL AND s.invoice_account_id IS NULL
"""

_INVOICED_THEMSELVES = """
SELECT account_id AS id FROM billing_profile
WHERE account_id = ANY(:ids) AND invoice_at_this_level = 'required'
"""

_BILLED_CHARGES = """
SELECT DISTINCT sc.charge_id AS id FROM subscription_charge sc
WHERE sc.charge_id = ANY(:ids) AND sc.billed_through IS NOT NULL
"""

_BILLED_COMMITMENTS = """
SELECT DISTINCT commitment_id AS id FROM rated_charge WHERE commitment_id = ANY(:ids)
"""

_BILLED_METERS = """
SELECT DISTINCT c.meter_id AS id FROM charge c
JOIN subscription_charge sc ON sc.charge_id = c.id
WHERE c.meter_id = ANY(:ids) AND sc.billed_through IS NOT NULL
"""


def check_billing_profiles(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """Refuse a new currency, time zone or cycle day once an account has been billed, that it is
    invoiced itself once it has been billed through its parent, and that it no longer is once it
    has been invoiced.

    The cycles that were billed follow from them: with others, late usage would be looked for in
    cycles that were never billed, and credits would be in another currency than the charge.
    """
    problems = _find_changed(uow, rows, old_rows, _CALENDAR, _BILLED_PROFILES, key="account_id")
    begin, cease = (
        [
            row["account_id"]
            for row, old in zip(rows, old_rows, strict=True)
            if (row["invoice_at_this_level"] == "required") is begins
            and (old is not None and old["invoice_at_this_level"] == "required") is not begins
        ]
        for begins in (True, False)
    )
    for message, accounts in (
        (
            "has been billed through an account above it and cannot be invoiced itself",
            _billed(uow, _BILLED_ABOVE, begin),
        ),
        ("cannot change: the account has been invoiced", _billed(uow, _BILLED_PROFILES, cease)),
    ):
        said = Problem("already_billed", message, "invoice_at_this_level")
        problems += [said] * len(accounts)
    return problems


def check_accounts(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """Refuse another parent for an account that has been billed through its ancestors."""
    moved = [
        row["id"]
        for row, old in zip(rows, old_rows, strict=True)
        if old is not None and old["parent_id"] != row["parent_id"]
    ]
    if not moved:
        return []
    own = _billed(uow, _INVOICED_THEMSELVES, moved)
    above = _billed(uow, _BILLED_ABOVE, [account for account in moved if account not in own])
    message = "cannot change: the account has been billed through an account above it"
    return [Problem("already_billed", message, "parent_id")] * len(above)


def check_charges(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """Refuse other terms of a charge that has been billed: late usage would price it anew."""
    return _find_changed(uow, rows, old_rows, _CHARGE_TERMS, _BILLED_CHARGES)


def check_meters(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """Refuse another way of counting for a meter whose usage has been billed."""
    return _find_changed(uow, rows, old_rows, _METER_TERMS, _BILLED_METERS)


def check_commitments(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """Refuse another amount of a commitment that something was billed with: what was billed for
    past periods would be compared with it."""
    return _find_changed(uow, rows, old_rows, ("amount",), _BILLED_COMMITMENTS)


CHECKS: dict[str, RecordCheck] = {
    "commitment": check_commitments,
    "billing_profile": check_billing_profiles,
    "account": check_accounts,
    "charge": check_charges,
    "meter": check_meters,
}


def _find_changed(
    uow: UnitOfWork,
    rows: Sequence[Record],
    old_rows: Sequence[Record | None],
    fields: Iterable[str],
    billed: str,
    *,
    key: str = "id",
) -> list[Problem]:
    """A problem for every one of the fields that changed in a record that ``billed`` finds; none
    in a rehearsal, after which what was billed stands as before."""
    if uow.rehearsal:
        return []
    changed = {
        row[key]: [name for name in fields if row[name] != old[name]]
        for row, old in zip(rows, old_rows, strict=True)
        if old is not None
    }
    found = _billed(uow, billed, [record for record, names in changed.items() if names])
    return [
        Problem("already_billed", "cannot change: it has been billed with", name)
        for record in sorted(found)
        for name in changed[record]
    ]


def _billed(uow: UnitOfWork, sql: str, ids: Sequence[int]) -> set[int]:
    return {row["id"] for row in uow.query(sql, ids=list(ids))} if ids else set()
