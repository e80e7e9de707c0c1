"""Billing as jobs: bill runs and drafts, with the credit balances that pay what was billed."""

from counterfoil.business.billing.commands import run_bills
from counterfoil.business.billing.drafts import refresh_drafts
from counterfoil.business.billing.finalizing import finalize_invoices
from counterfoil.business.receivables.commands import apply_credits, apply_to_bill_run
from counterfoil.business.subscriptions.invoicing import billed_account
from counterfoil.business.usage.compaction import compact
from counterfoil.business.usage.store import UsageStore
from counterfoil.platform.engine.runner import Runner
from counterfoil.platform.jobs.working import Assignment, Handler
from counterfoil.platform.metadata import JobKind, Record
from counterfoil.platform.metadata.fields import boolean, date, text

RUN_BILLS = JobKind(
    name="run_bills",
    command="run_bills",
    lengthy=True,
    help="Bill everything due, of all accounts or of one.",
    fields=(
        date("billing_date", help="What is due by the beginning of this day; today by default."),
        text("account", help="External id; only for whom this account is billed."),
        boolean("finalize", default=True, help="false leaves the invoices as drafts."),
    ),
)

REFRESH_DRAFTS = JobKind(
    name="refresh_drafts",
    command="refresh_drafts",
    lengthy=True,
    help="Compute drafts anew, with usage that came late; finalize those whose grace is over.",
)

FINALIZE_INVOICES = JobKind(
    name="finalize_invoices",
    command="finalize_invoices",
    lengthy=True,
    help="Give the drafts that may be issued their numbers and make them final.",
)

JOB_KINDS = (RUN_BILLS, REFRESH_DRAFTS, FINALIZE_INVOICES)


def billing_handlers(store: UsageStore, runner: Runner) -> dict[str, Handler]:
    """Who does these kinds of jobs; running one again adds nothing."""

    def bill(job: Assignment) -> Record:
        accounts = None
        if job.payload["account"]:
            with job.database.transaction(now=job.now) as uow:
                accounts = [billed_account(uow, job.payload["account"])]
        compact(job.database, store, now=job.now)
        summary = run_bills(
            job.database,
            store,
            job.payload["billing_date"] or job.today,
            now=job.now,
            finalize=job.payload["finalize"] is not False,
            accounts=accounts,
            runner=runner,
        )
        with job.database.transaction(now=job.now) as uow:
            apply_to_bill_run(uow, summary.bill_run_id)
        skipped = len({account for account, _, _ in summary.problems})
        return {
            "bill_run_id": summary.bill_run_id,
            "invoices": summary.invoices,
            "skipped_accounts": skipped,
            "totals": summary.totals,
        }

    def refresh(job: Assignment) -> Record:
        done = refresh_drafts(job.database, store, now=job.now, today=job.today, runner=runner)
        with job.database.transaction(now=job.now) as uow:
            apply_credits(uow)
        return {"drafts": done.drafts, "finalized": done.finalized}

    return {
        RUN_BILLS.name: bill,
        REFRESH_DRAFTS.name: refresh,
        FINALIZE_INVOICES.name: _finalize,
    }


def _finalize(job: Assignment) -> Record:
    done = finalize_invoices(job.database, now=job.now)
    with job.database.transaction(now=job.now) as uow:
        apply_credits(uow)
    return {"finalized": done.final, "kept_back": done.held, "waiting": done.waiting}
