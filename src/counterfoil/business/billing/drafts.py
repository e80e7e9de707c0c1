"""Drafts that wait for late usage: computed anew until their days of grace are over, then final."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from counterfoil.business.billing.commands import (
    lock_billing,
    run_bills,
)
from counterfoil.business.billing.finalizing import Finalized, finalize_drafts
from counterfoil.business.billing.taking_back import take_back
from counterfoil.business.usage.store import UsageStore
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.engine.runner import IN_THIS_PROCESS, Runner
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

_DRAFTS = """
SELECT i.id, i.account_id, i.bill_run_id, r.billing_date
FROM invoice i JOIN bill_run r ON r.id = i.bill_run_id
WHERE i.state = 'draft' AND r.purpose = 'billing'
  AND NOT EXISTS (SELECT 1 FROM invoice d LEFT JOIN merged_account m ON m.invoice_id = d.id
                  WHERE d.state = 'draft' AND (d.arranged OR d.approved_at IS NOT NULL)
                    AND i.account_id IN (d.account_id, m.account_id))
ORDER BY i.id FOR UPDATE OF i
"""

_OVER = """
SELECT i.id FROM invoice i
JOIN bill_run r ON r.id = i.bill_run_id
JOIN billing_profile p ON p.account_id = i.account_id
WHERE i.state = 'draft' AND r.purpose = 'billing'
  AND r.billing_date + CAST(coalesce(p.grace_days, 0) AS integer) <= CAST(:today AS date)
ORDER BY i.id FOR UPDATE OF i
"""


_LOCKED = """
SELECT i.*, a.root_id FROM invoice i JOIN account a ON a.id = i.account_id
WHERE i.id = ANY(:ids) ORDER BY i.id FOR UPDATE OF i
"""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """How many drafts were computed anew, how many drafts are final now, and how many of those
    whose grace is over wait for approval."""

    drafts: int
    finalized: int
    waiting: int = 0


def refresh_drafts(
    database: Database,
    store: UsageStore,
    *,
    now: datetime,
    today: date | None = None,
    runner: Runner = IN_THIS_PROCESS,
) -> Refreshed:
    """Compute the drafts of bill runs anew, each for its billing date, and finalize those whose
    days of grace are over by ``today``.

    Documents made by hand and drafts of re-ratings stay as they are, and so do all drafts of an
    account of which one was approved, or merged or split by hand. Stopped half-way, what the
    drafts billed is due again. Refuses (409) while a bill run of this organisation is going on.
    """
    by_day = _begin_anew(database, now)
    drafts = 0
    for day, accounts in sorted(by_day.items()):
        run = run_bills(
            database, store, day, now=now, finalize=False, accounts=accounts, runner=runner
        )
        drafts += run.invoices

    def finalize(uow: UnitOfWork) -> Finalized:
        over = uow.query(_OVER, today=today or now.date())
        return finalize_drafts(uow, [int(row["id"]) for row in over])

    done = database.attempt(finalize, now=now)
    return Refreshed(drafts, done.final, done.waiting)


def _begin_anew(database: Database, now: datetime) -> dict[date, list[int]]:
    """Delete the drafts; the accounts they were for, by billing date."""

    def begin(uow: UnitOfWork) -> dict[date, list[int]]:
        lock_billing(uow)
        rows = uow.query(_DRAFTS)
        take_back(uow, [int(row["id"]) for row in rows])
        by_day: dict[date, list[int]] = defaultdict(list)
        for row in rows:
            by_day[row["billing_date"]].append(row["account_id"])
        return by_day

    return database.attempt(begin, now=now)


def locked_drafts(uow: UnitOfWork, drafts: Sequence[int]) -> list[Record]:
    """These drafts (ids) in their order, locked, each with the root_id of its account beside.

    Refuses (404) unknown ids, (409) what is no draft, (422) none.
    """
    ids = list(dict.fromkeys(drafts))
    if not ids:
        raise Refused(Problem("required", "name at least one draft", "invoice_ids"))
    # Only what is locked is sure to be there: others delete drafts, too.
    rows = {row["id"]: row for row in uow.query(_LOCKED, ids=ids)}
    for one in ids:
        if one not in rows:
            message = f"there is no document {one}"
            raise Refused(Problem("unknown_invoice", message, "invoice_ids"), 404)
    for row in rows.values():
        if row["state"] != "draft":
            message = f"{row['number'] or row['id']} is no draft any more"
            raise Refused(Problem("not_a_draft", message, "invoice_ids"), 409)
    return [rows[one] for one in ids]
