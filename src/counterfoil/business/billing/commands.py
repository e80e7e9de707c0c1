"""Bill runs and the discarding of drafts.

A bill run goes over all billed accounts in batches; a batch is one transaction, so a killed run
loses nothing and is simply run again: what is billed already is no longer due.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from itertools import chain, groupby

import pyarrow as pa

from counterfoil.business.billing.bills import Bills, compute_bills
from counterfoil.business.billing.events import BILL_RUN_FINISHED
from counterfoil.business.billing.finalizing import finalize_drafts
from counterfoil.business.billing.loading import billed_accounts, unbilled_accounts, usage_seen
from counterfoil.business.billing.spending import tell_of_billed
from counterfoil.business.billing.taking_back import take_back
from counterfoil.business.incentives.loading import sharing_accounts
from counterfoil.business.usage.store import UsageStore, lock_publishing
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.engine.duck import NotComputable
from counterfoil.platform.engine.runner import IN_THIS_PROCESS, Runner
from counterfoil.platform.outbox.emitting import emit
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

BATCH_ACCOUNTS = 2000
"""Billed accounts per transaction: large enough for set-based speed, small enough for memory."""

_LOCK = "bill_run"


@dataclass
class BillRunSummary:
    """What a bill run did. ``totals`` and ``lines`` count what this run added; ``invoices`` leaves
    out those that came to nothing and were kept back."""

    bill_run_id: int
    accounts: int = 0
    invoices: int = 0
    lines: int = 0
    totals: dict[str, Decimal] = field(default_factory=dict)
    problems: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, other: "BillRunSummary") -> None:
        """Take in what one batch did."""
        self.accounts += other.accounts
        self.invoices += other.invoices
        self.lines += other.lines
        self.problems += other.problems
        for currency, total in other.totals.items():
            self.totals[currency] = self.totals.get(currency, Decimal(0)) + total


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """One batch as a worker receives it."""

    accounts: tuple[int, ...]
    billing_date: date
    bill_run_id: int
    usage_seen: int
    finalize: bool
    now: datetime
    threads: int | None


def run_bills(
    database: Database,
    store: UsageStore,
    billing_date: date,
    *,
    now: datetime,
    finalize: bool = True,
    accounts: Sequence[int] | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    runner: Runner = IN_THIS_PROCESS,
) -> BillRunSummary:
    """Bill everything due by ``billing_date`` (local to each account), in batches.

    ``accounts`` restricts the run to these billed accounts (ids). With ``finalize`` invoices get
    their numbers at once, otherwise they stay drafts. ``workers`` batches are billed at the same
    time: while one is computed, PostgreSQL stores the other. ``progress(done, total)`` counts
    accounts. ``runner`` says where buckets are rated.
    Refuses (409) while another bill run of this organisation is going on.
    """
    with database.transaction(now=now) as guard:
        lock_billing(guard)
        run_id, todo, unbilled = _begin(database, billing_date, now, accounts, finalize=finalize)
        threads = 1 if workers > 1 else None
        in_turn, at_once = (
            [
                BatchOrder(batch, billing_date, run_id, seen, finalize, now, threads)
                for batch, seen in _batches(some, todo)
            ]
            for some in _in_turn(guard, todo)
        )
        summary = BillRunSummary(run_id, problems=unbilled)
        for done in chain(
            _run_batches(database, store, runner, in_turn, workers=1),
            _run_batches(database, store, runner, at_once, workers),
        ):
            summary.add(done)
            if progress is not None:
                progress(summary.accounts, len(todo))
    _finish(database, summary, now)
    return summary


def discard_drafts(database: Database, *, now: datetime) -> int:
    """Delete all draft invoices; what they billed is due again. How many were deleted.

    Refuses (409) while a bill run of this organisation is going on.
    """

    def discard(uow: UnitOfWork) -> int:
        lock_billing(uow)
        drafts = uow.query("SELECT id FROM invoice WHERE state = 'draft' ORDER BY id FOR UPDATE")
        return take_back(uow, [int(row["id"]) for row in drafts])

    return database.attempt(discard, now=now)


def lock_accounts(uow: UnitOfWork, accounts: Sequence[int]) -> None:
    """Keep whoever bills, credits or settles these billed accounts apart, until the unit of work
    ends. Always the first lock taken, so that nobody waits in a circle."""
    uow.query(
        "SELECT id FROM billing_profile WHERE account_id = ANY(:accounts) "
        "ORDER BY account_id FOR UPDATE",
        accounts=list(accounts),
    )


def lock_billing(uow: UnitOfWork) -> None:
    """Keep bill runs and the discarding of drafts apart, until the unit of work ends."""
    if not uow.lock(_LOCK):
        raise Refused(Problem("bill_run_in_progress", "another bill run is going on"), 409)


def _begin(
    database: Database,
    billing_date: date,
    now: datetime,
    accounts: Sequence[int] | None,
    *,
    finalize: bool,
) -> tuple[int, dict[int, int], list[tuple[int, str, str]]]:
    """Record the run; which accounts it goes over, each with the usage segment earlier runs have
    seen for it; the problems of accounts that nobody is billed for.

    The lock waits for imports that are just committing, so that no segment with a lower id
    than the newest can appear afterwards. A run over chosen accounts has seen nothing for the
    others, and one that looks back before an earlier run has seen nothing of what lies between,
    so they record no segment.
    """
    with database.transaction(now=now) as uow:
        lock_publishing(uow)
        newest = uow.query("SELECT coalesce(max(id), 0) AS id FROM usage_segment")[0]["id"]
        back = uow.query(
            "SELECT coalesce(max(billing_date) > :day, false) AS back FROM bill_run "
            "WHERE purpose = 'billing'",
            day=billing_date,
        )[0]["back"]
        run = uow.create(
            "bill_run",
            {
                "billing_date": billing_date,
                "finalize": finalize,
                "usage_segment_seen": newest if accounts is None and not back else None,
            },
        )
        todo = billed_accounts(uow) if accounts is None else list(accounts)
        unbilled = [
            (account, "no_billing_profile", message)
            for account, message in (
                unbilled_accounts(uow, billing_date) if accounts is None else ()
            )
        ]
        save_problems(uow, unbilled, int(run["id"]))
        return int(run["id"]), usage_seen(uow, todo), unbilled


def _finish(database: Database, summary: BillRunSummary, now: datetime) -> None:
    skipped = len({account for account, _, _ in summary.problems})
    with database.transaction(now=now) as uow:
        run = uow.update(
            "bill_run",
            summary.bill_run_id,
            {
                "state": "finished",
                "finished_at": now,
                "invoices": summary.invoices,
                "skipped_accounts": skipped,
            },
        )
        emit(
            uow,
            BILL_RUN_FINISHED,
            key=str(run["id"]),
            subject=f"bill-runs/{run['id']}",
            data={
                "bill_run_id": run["id"],
                "billing_date": run["billing_date"],
                "finalize": run["finalize"],
                "invoices": summary.invoices,
                "skipped_accounts": skipped,
                "totals": summary.totals,
            },
        )


def _in_turn(uow: UnitOfWork, seen: Mapping[int, int]) -> tuple[list[int], list[int]]:
    """The accounts that share what can be used up, in the order in which they have it, one batch
    after the other; and all others, those for which most has been seen first."""
    sharing = sharing_accounts(uow, list(seen))
    known = frozenset(sharing)
    others = [account for account in seen if account not in known]
    return sharing, sorted(others, key=seen.__getitem__, reverse=True)


def _batches(
    accounts: Iterable[int], seen: Mapping[int, int]
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Batches of accounts, in their order, for which the same usage has been seen, with that
    segment."""
    for segment, group in groupby(accounts, key=seen.__getitem__):
        alike = list(group)
        for start in range(0, len(alike), BATCH_ACCOUNTS):
            yield tuple(alike[start : start + BATCH_ACCOUNTS]), segment


def _run_batches(
    database: Database,
    store: UsageStore,
    runner: Runner,
    orders: Sequence[BatchOrder],
    workers: int,
) -> Iterator[BillRunSummary]:
    if workers <= 1 or len(orders) <= 1:
        for order in orders:
            yield _bill_batch(database, store, runner, order)
        return
    # Threads are enough: the engine, PostgreSQL and Arrow do the work outside the interpreter.
    pool = ThreadPoolExecutor(workers)
    try:
        batches = [pool.submit(_bill_batch, database, store, runner, order) for order in orders]
        for done in as_completed(batches):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _bill_batch(
    database: Database, store: UsageStore, runner: Runner, order: BatchOrder
) -> BillRunSummary:
    """Bill one batch in one transaction. When it fails, its halves are tried, so that one
    account's fault is reported and stops nobody else's bill."""

    def bill(uow: UnitOfWork) -> BillRunSummary:
        lock_accounts(uow, order.accounts)
        bills = compute_bills(
            uow,
            store,
            order.accounts,
            order.billing_date,
            usage_seen=order.usage_seen,
            threads=order.threads,
            runner=runner,
            lock=True,
        )
        return save_bills(uow, bills, order)

    try:
        return database.attempt(bill, now=order.now)
    except NotComputable as fault:
        if len(order.accounts) == 1:
            return _give_up(database, order, str(fault))
    summary = BillRunSummary(order.bill_run_id)
    half = len(order.accounts) // 2
    for accounts in (order.accounts[:half], order.accounts[half:]):
        summary.add(_bill_batch(database, store, runner, replace(order, accounts=accounts)))
    return summary


def _give_up(database: Database, order: BatchOrder, fault: str) -> BillRunSummary:
    """Report an account that cannot be computed at all (an amount beyond 38 digits, say)."""
    problem = (order.accounts[0], "not_computable", fault.splitlines()[0][:1000])
    with database.transaction(now=order.now) as uow:
        save_problems(uow, [problem], order.bill_run_id)
    return BillRunSummary(order.bill_run_id, accounts=1, problems=[problem])


# Locked by id, as amendments lock them, so that nobody waits in a circle.
_BILLED_THROUGH = """
UPDATE subscription_charge sc SET billed_through = v.day, row_version = sc.row_version + 1,
       updated_at = :now
FROM (SELECT c.id, u.day
      FROM unnest(CAST(:ids AS bigint[]), CAST(:days AS date[])) AS u(id, day)
      JOIN subscription_charge c ON c.id = u.id ORDER BY c.id FOR NO KEY UPDATE OF c) v
WHERE sc.id = v.id
"""


def save_bills(uow: UnitOfWork, bills: Bills, order: BatchOrder) -> BillRunSummary:
    """Store bills: invoices as drafts, their charges and lines, then finalize if ordered."""
    invoice_ids = _save_documents(uow, bills, order) if bills.invoices.num_rows else []
    if bills.billed_through.num_rows:
        _mark_billed(uow, bills.billed_through)
    if invoice_ids:
        tell_of_billed(uow, invoice_ids)
    problems = [
        (int(row["account_id"]), str(row["code"]), str(row["message"]))
        for row in bills.problems.to_pylist()
    ]
    save_problems(uow, problems, order.bill_run_id)
    held = finalize_drafts(uow, invoice_ids).held if order.finalize and invoice_ids else 0
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in bills.invoices.to_pylist():
        totals[row["currency"]] += row["total"]
    return BillRunSummary(
        order.bill_run_id,
        len(order.accounts),
        bills.invoices.num_rows - held,
        bills.lines.num_rows,
        {currency: round_half_up(total, exponent(currency)) for currency, total in totals.items()},
        problems,
    )


def _save_documents(uow: UnitOfWork, bills: Bills, order: BatchOrder) -> Sequence[int]:
    """Store invoices with their charges and lines; the ids of the invoices."""
    invoice_ids = uow.allocate_ids("invoice", bills.invoices.num_rows)
    charge_ids = uow.allocate_ids("rated_charge", bills.rated_charges.num_rows)
    uow.copy_in("invoice", _invoice_rows(bills.invoices, invoice_ids, order.bill_run_id))
    adjustment_ids = _save_adjustments(uow, bills.adjustments, invoice_ids)
    charges = _adjusted(_applied(bills.rated_charges, charge_ids), adjustment_ids)
    uow.copy_in("rated_charge", _numbered(charges, invoice_ids, charge_ids, "id"))
    lines = _numbered(bills.lines, invoice_ids, charge_ids, "rated_charge_id")
    uow.copy_in("invoice_line", lines)
    numbers = bills.rated_charges.column("charge_no").to_pylist()
    for entity, parts in (
        ("allowance_draw", bills.draws),
        ("rated_charge_partial", bills.partials),
    ):
        if parts.num_rows:
            ids = dict(zip(numbers, charge_ids, strict=True))
            uow.copy_in(entity, _of_rated_charges(parts, ids))
    return invoice_ids


def _mark_billed(uow: UnitOfWork, billed_through: pa.Table) -> None:
    """Remember until when subscription charges are billed."""
    uow.execute(
        _BILLED_THROUGH,
        ids=billed_through.column("subscription_charge_id").to_pylist(),
        days=billed_through.column("billed_through").to_pylist(),
        now=uow.now,
    )


def _save_adjustments(
    uow: UnitOfWork, adjustments: pa.Table | None, invoice_ids: Sequence[int]
) -> Mapping[int, int]:
    """Store adjustments; their ids by adjustment_no."""
    if adjustments is None:
        return {}
    ids = uow.allocate_ids("adjustment", adjustments.num_rows)
    numbers = adjustments.column("adjustment_no").to_pylist()
    invoices = adjustments.column("invoice_no").to_pylist()
    rows = adjustments.drop_columns(["adjustment_no", "invoice_no"])
    rows = rows.append_column("id", pa.array(ids, pa.int64()))
    invoice_column = pa.array([invoice_ids[no - 1] for no in invoices], pa.int64())
    uow.copy_in("adjustment", rows.append_column("invoice_id", invoice_column))
    return dict(zip(numbers, ids, strict=True))


def _adjusted(charges: pa.Table, adjustment_ids: Mapping[int, int]) -> pa.Table:
    """Replace adjustment_no by the id of the adjustment, where there is one."""
    numbers = charges.column("adjustment_no").to_pylist()
    ids = [None if no is None else adjustment_ids[no] for no in numbers]
    rows = charges.drop_columns(["adjustment_no"])
    return rows.append_column("adjustment_id", pa.array(ids, pa.int64()))


def _invoice_rows(invoices: pa.Table, ids: Sequence[int], run_id: int) -> pa.Table:
    rows = invoices.num_rows
    table = invoices.drop_columns(["invoice_no"])
    table = table.append_column("id", pa.array(ids, pa.int64()))
    table = table.append_column("state", pa.array(["draft"] * rows, pa.string()))
    return table.append_column("bill_run_id", pa.array([run_id] * rows, pa.int64()))


def _applied(charges: pa.Table, charge_ids: Sequence[int]) -> pa.Table:
    """Replace the number of the charge that a charge applies to by its record id."""
    numbers = charges.column("applies_to_no").to_pylist()
    ids = [None if number is None else charge_ids[number - 1] for number in numbers]
    table = charges.drop_columns(["applies_to_no"])
    return table.append_column("applies_to_id", pa.array(ids, pa.int64()))


def _numbered(
    table: pa.Table, invoice_ids: Sequence[int], charge_ids: Sequence[int], charge_column: str
) -> pa.Table:
    """Replace invoice_no and the row's rated charge (both count from 1) by their record ids."""
    invoice_no = table.column("invoice_no").to_pylist()
    charge_no = table.column("charge_no").to_pylist()
    rows = table.drop_columns(["invoice_no", "charge_no"])
    rows = rows.append_column(
        "invoice_id", pa.array([invoice_ids[no - 1] for no in invoice_no], pa.int64())
    )
    return rows.append_column(
        charge_column, pa.array([charge_ids[no - 1] for no in charge_no], pa.int64())
    )


def _of_rated_charges(table: pa.Table, charge_ids: Mapping[int, int]) -> pa.Table:
    """Replace charge_no by the record id of the rated charge."""
    ids = [charge_ids[no] for no in table.column("charge_no").to_pylist()]
    rows = table.drop_columns(["charge_no"])
    return rows.append_column("rated_charge_id", pa.array(ids, pa.int64()))


def save_problems(uow: UnitOfWork, problems: Sequence[tuple[int, str, str]], run_id: int) -> None:
    """Store why accounts (id, code, message) could not be billed in a run."""
    uow.create_many(
        "billing_problem",
        [
            {"bill_run_id": run_id, "account_id": account, "code": code, "message": message}
            for account, code, message in problems
        ],
    )
