"""What billing does not let others change: the calendar and currency of a billed account."""

from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import RecordCheck, UnitOfWork

_FIXED = ("currency", "time_zone", "cycle_day")

_ALREADY_BILLED = """
SELECT DISTINCT account_id FROM invoice WHERE account_id = ANY(:accounts)
"""


def check_billing_profiles(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """Refuse a new currency, time zone or cycle day once an account has been billed.

    The cycles that were billed follow from them: with others, late usage would be looked for in
    cycles that were never billed.
    """
    changed = {
        row["account_id"]: [name for name in _FIXED if row[name] != old[name]]
        for row, old in zip(rows, old_rows, strict=True)
        if old is not None
    }
    accounts = [account for account, names in changed.items() if names]
    if not accounts:
        return []
    billed = {row["account_id"] for row in uow.query(_ALREADY_BILLED, accounts=accounts)}
    return [
        Problem("already_billed", "cannot change: the account has been billed with it", name)
        for account in accounts
        if account in billed
        for name in changed[account]
    ]


CHECKS: dict[str, RecordCheck] = {"billing_profile": check_billing_profiles}
