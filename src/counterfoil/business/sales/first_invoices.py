"""The first invoices of what quotes became."""

from collections.abc import Sequence
from datetime import date, datetime

from counterfoil.business.billing.commands import BillRunSummary, run_bills
from counterfoil.business.receivables.commands import apply_to_bill_run
from counterfoil.business.sales.conversion import Ordered
from counterfoil.business.usage.store import UsageStore
from counterfoil.platform.engine.runner import IN_THIS_PROCESS, Runner
from counterfoil.platform.records.database import Database


def bill_orders(
    database: Database,
    store: UsageStore,
    orders: Sequence[Ordered],
    *,
    now: datetime,
    on: date | None = None,
    runner: Runner = IN_THIS_PROCESS,
) -> list[BillRunSummary]:
    """Bill what is due, today or ``on`` a day, of those who are invoiced for these orders: a bill
    run for each day that is today somewhere. Again it adds nothing."""
    days: dict[date, set[int]] = {}
    for one in orders:
        days.setdefault(on or one.day, set()).add(one.billed_account)
    runs = []
    for day, accounts in sorted(days.items()):
        run = run_bills(database, store, day, now=now, accounts=sorted(accounts), runner=runner)
        with database.transaction(now=now) as uow:
            apply_to_bill_run(uow, run.bill_run_id)
        runs.append(run)
    return runs
