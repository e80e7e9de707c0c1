"""Prepaid balances: what is left of grants, what moved them, and taking a grant back.

A balance is never stored: it is what was granted, less what was taken back, less what invoices
drew, drafts among them.
"""

from datetime import date
from decimal import Decimal

from counterfoil.business.billing.incentives import BALANCES
from counterfoil.business.incentives.loading import lock_grants
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.money.written import without_zeros
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_GRANTS = """
WITH RECURSIVE up AS (
    SELECT id, parent_id, 0 AS distance FROM account WHERE external_id = :account
    UNION ALL
    SELECT a.id, a.parent_id, up.distance + 1 FROM up JOIN account a ON a.id = up.parent_id
)
SELECT g.id, g.external_id AS grant, a.external_id AS account, g.kind, g.currency, g.amount,
       g.priority, g.start_date, g.expiry_date
FROM prepaid_grant g JOIN account a ON a.id = g.account_id JOIN up ON up.id = g.account_id
WHERE g.scope = 'subtree' OR up.distance = 0
ORDER BY g.priority, g.expiry_date NULLS LAST, g.start_date, g.id
"""

_MOVEMENTS = """
SELECT * FROM (
    SELECT g.external_id AS grant, g.start_date AS day, 'granted' AS movement, g.amount,
           NULL AS invoice, g.currency, 0 AS place
    FROM prepaid_grant g WHERE g.id = ANY(:grants)
    UNION ALL
    SELECT g.external_id, v.voided_on, 'voided', -v.amount, NULL, g.currency, 1
    FROM prepaid_void v JOIN prepaid_grant g ON g.id = v.prepaid_grant_id
    WHERE g.id = ANY(:grants)
    UNION ALL
    SELECT g.external_id, i.invoice_date,
           CASE r.kind WHEN 'credit' THEN 'returned' ELSE 'drawn' END, r.amount,
           coalesce(i.number, 'draft-' || i.id), g.currency, 2
    FROM rated_charge r
    JOIN prepaid_grant g ON g.id = r.prepaid_grant_id
    JOIN invoice i ON i.id = r.invoice_id
    WHERE g.id = ANY(:grants)
) m ORDER BY m."grant", day, place, invoice
"""


def read_balances(uow: UnitOfWork, account: str, day: date) -> list[Record]:
    """The grants that invoices of an account (external id) may draw on, in that order.

    Fields: grant, account (whose it is), kind, currency, amount, priority, start_date,
    expiry_date, remaining, usable (whether an invoice of ``day`` may draw on it). Refuses (404) an
    unknown account.
    """
    if uow.find("account", external_id=account) is None:
        raise Refused(
            Problem("unknown_account", f"there is no account {account!r}", "account"), 404
        )
    grants = uow.query(_GRANTS, account=account)
    balances = _remaining(uow, [int(grant["id"]) for grant in grants])
    return [
        {
            **{name: value for name, value in grant.items() if name != "id"},
            "remaining": balances[grant["id"]],
            "usable": grant["start_date"] <= day
            and (grant["expiry_date"] is None or grant["expiry_date"] > day)
            and balances[grant["id"]] > 0,
        }
        for grant in grants
    ]


def read_movements(uow: UnitOfWork, account: str) -> list[Record]:
    """Everything that moved the balances an account may draw on: grant, day, movement (granted,
    voided, drawn, returned), amount (negative what left it), invoice, currency."""
    grants = [int(grant["id"]) for grant in uow.query(_GRANTS, account=account)]
    rows = uow.query(_MOVEMENTS, grants=grants)
    return [{name: value for name, value in row.items() if name != "place"} for row in rows]


def void_grant(
    uow: UnitOfWork, grant: str, amount: Decimal | None = None, *, reason: str | None = None
) -> Decimal:
    """Take back what is left of a grant (external id), or an amount of it; answers what remains.

    Refuses (404) an unknown grant, (409) more than there is, or anything when nothing is left. The
    grant is locked first, so that nothing is taken back, or drawn, twice.
    """
    found = uow.find("prepaid_grant", external_id=grant)
    if found is None:
        raise Refused(Problem("unknown_grant", f"there is no grant {grant!r}", "grant"), 404)
    grant_id = int(found["id"])
    lock_grants(uow, [grant_id])
    remaining = _remaining(uow, [grant_id])[grant_id]
    wanted = remaining if amount is None else amount
    if wanted != round_half_up(wanted, exponent(found["currency"])):
        message = f"{wanted} is finer than an amount in {found['currency']}"
        raise Refused(Problem("too_many_places", message, "amount"))
    if wanted <= 0 and amount is not None:
        raise Refused(Problem("too_small", "must be above 0", "amount"))
    if wanted > remaining or remaining == 0:
        message = f"{without_zeros(remaining)} {found['currency']} are left of grant {grant!r}"
        raise Refused(Problem("not_enough_left", message, "amount"), 409)
    row = {
        "prepaid_grant_id": grant_id,
        "voided_on": uow.now.date(),
        "amount": wanted,
        "reason": reason,
    }
    uow.create("prepaid_void", row, by_command=True)
    return remaining - wanted


def _remaining(uow: UnitOfWork, grants: list[int]) -> dict[int, Decimal]:
    rows = uow.query(BALANCES, grants=grants)
    return {int(row["grant_id"]): row["remaining"] for row in rows}
