"""Re-rating: billed cycles rated again with today's prices and usage, and the difference adjusted.

A cycle of a subscription charge whose result differs is adjusted as a whole: every rated charge of
it that is in force is taken back (kind ``adjustment``), and what came out now stands in its place.
So whatever follows, late usage or a cancellation, goes on from what was billed net, as if the cycle
had been billed like this in the first place. Nothing that is final is altered.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from heapq import heappush, heappushpop

import pyarrow as pa

from counterfoil.business.billing.bills import Bills, assemble
from counterfoil.business.billing.commands import (
    BatchOrder,
    lock_accounts,
    lock_billing,
    save_bills,
    save_problems,
)
from counterfoil.business.billing.loading import billed_accounts, load_line_names
from counterfoil.business.billing.window import BILLED, OVERLAPPING, Window, rate_window
from counterfoil.business.usage.store import UsageStore
from counterfoil.core.money.currencies import CURRENCIES, exponent
from counterfoil.core.money.exact_sql import half_up, minor_units, power_of_ten, raw
from counterfoil.core.money.rounding import round_half_up
from counterfoil.platform.engine.duck import Engine, NotComputable, open_engine
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

BATCH_ACCOUNTS = 1000
"""Billed accounts per transaction."""

LISTED = 1000
"""Differences that a summary lists: the greatest."""

_MINOR_UNIT = "CASE minor_digits {} END".format(
    " ".join(
        f"WHEN {digits} THEN {Decimal(1).scaleb(-digits):f}"
        for digits in sorted(set(CURRENCIES.values()))
    )
)

# What was credited or debited by hand was decided by a person: such a cycle is left alone.
# Amounts are compared before rounding, where the parts of an unchanged cycle add up exactly (to 15
# decimals); but a share that was given back is known rounded only.
COMPARED = f"""
WITH item AS (
    SELECT DISTINCT billed_account_id, subscription_charge_id, cycle_start, cycle_end, currency,
           minor_digits FROM due_item
), rated_again AS (
    SELECT subscription_charge_id, cycle_start, sum(amount) AS amount, sum(exact_amount) AS exact
    FROM charged GROUP BY ALL
), billed AS (
    SELECT subscription_charge_id, cycle_start, sum(amount) AS amount, sum(exact_amount) AS exact,
           bool_or(reverses_id IS NOT NULL) AS shared
    FROM billed_charge WHERE discount_id IS NULL GROUP BY ALL
), compared AS (
    SELECT i.*, coalesce(b.amount, 0) AS billed, coalesce(r.amount, 0) AS now,
           abs(coalesce(r.exact, 0) - coalesce(b.exact, 0)) AS apart,
           CASE WHEN b.shared THEN {_MINOR_UNIT} ELSE 0.000000001 END AS unavoidable
    FROM item i
    LEFT JOIN rated_again r USING (subscription_charge_id, cycle_start)
    LEFT JOIN billed b USING (subscription_charge_id, cycle_start)
    WHERE i.billed_account_id NOT IN (SELECT account_id FROM problem)
      AND NOT EXISTS (SELECT 1 FROM earlier_charge e
                      WHERE e.subscription_charge_id = i.subscription_charge_id
                        AND e.cycle_start = i.cycle_start AND e.kind IN ('credit', 'debit'))
)
SELECT *, row_number() OVER (ORDER BY billed_account_id, subscription_charge_id, cycle_start)
       AS adjustment_no
FROM compared
"""
"""What was billed net of every cycle rated again, and what it costs ``now``; numbered."""

_DIFFERENCE = f"{COMPARED} WHERE now <> billed AND apart > unavoidable"

TAKEN_BACK = """
INSERT INTO charged BY NAME
WITH given_back AS (
    SELECT reverses_id, sum(amount) AS amount FROM billed_charge
    WHERE reverses_id IS NOT NULL GROUP BY reverses_id
), taken AS (
    SELECT b.*, d.adjustment_no, CAST(-(b.amount + coalesce(g.amount, 0)) AS DECIMAL(20,4)) AS back
    FROM billed_charge b
    JOIN difference d USING (subscription_charge_id, cycle_start)
    LEFT JOIN given_back g ON g.reverses_id = b.rated_charge_id
    WHERE b.reverses_id IS NULL AND {which}
)
SELECT c.billed_account_id, c.account_name, c.site_name, c.product_name,
       coalesce(t.applied_name, c.charge_name) AS charge_name, c.subscription_id,
       c.subscription_charge_id, 'adjustment' AS kind, c.currency,
       CASE WHEN t.applied_name IS NULL THEN c.unit ELSE '' END AS unit,
       t.cycle_start, t.cycle_end, t.service_start, t.service_end,
       t.rated_charge_id AS reverses_id, t.price_id, t.layer, t.quantity,
       t.discount_id, t.holder_id,
       0 AS quantity_before, 0 AS included_quantity, 0 AS events,
       t.service_end - t.service_start AS days, t.cycle_end - t.cycle_start AS cycle_days,
       t.back AS list_amount, t.back AS exact_amount, t.back AS amount,
       '[]' AS steps, false AS late, t.adjustment_no, n.number AS corrects
FROM taken t
JOIN every_charge c
  ON c.subscription_charge_id = t.subscription_charge_id AND NOT c.tree_only
LEFT JOIN corrected n USING (rated_charge_id)
"""
"""Rows for what is in force of the cycles in ``difference``, of those that ``which`` names."""

_SCALED = half_up(
    f"({raw('o.amount', 4)} * {raw('CAST(d.now AS DECIMAL(20,4))', 4)})",
    f"({raw('CAST(d.billed AS DECIMAL(20,4))', 4)} * {power_of_ten('d.minor_digits', 4)})",
)

# A percentage is one of the new amount, too. Other discounts stay as they were given, and so does
# what cannot be scaled.
_DISCOUNTS = """
INSERT INTO charged BY NAME
WITH old AS (
    SELECT subscription_charge_id, cycle_start, discount_id, holder_id, discount_kind,
           CAST(sum(amount) AS DECIMAL(20,4)) AS amount, max(applied_name) AS name
    FROM billed_charge WHERE discount_id IS NOT NULL GROUP BY ALL
), scaled AS (
    SELECT o.*, d.* EXCLUDE (subscription_charge_id, cycle_start), {scaled} AS scaled
    FROM old o JOIN difference d USING (subscription_charge_id, cycle_start)
    WHERE {which}
)
SELECT c.billed_account_id, c.account_name, c.site_name, c.product_name, s.name AS charge_name,
       c.subscription_id, c.subscription_charge_id, 'discount' AS kind, c.currency, '' AS unit,
       s.cycle_start, s.cycle_end, s.cycle_start AS service_start, s.cycle_end AS service_end,
       0 AS quantity, 0 AS quantity_before, 0 AS included_quantity, 0 AS events,
       s.cycle_end - s.cycle_start AS days, s.cycle_end - s.cycle_start AS cycle_days,
       {amount} AS list_amount, {amount} AS exact_amount, {amount} AS amount,
       s.discount_id, s.holder_id,
       CAST(to_json([struct_pack(kind := 'adjusted', before := s.amount, now := s.scaled,
           billed := CAST(s.billed AS DECIMAL(20,4)),
           rated := CAST(s.now AS DECIMAL(20,4)))]) AS VARCHAR) AS steps,
       false AS late, s.adjustment_no
FROM scaled s
JOIN every_charge c ON c.subscription_charge_id = s.subscription_charge_id AND NOT c.tree_only
WHERE {amount} <> 0
"""

# So that a credit of the charge takes its discount along.
_DISCOUNTS_APPLY = """
UPDATE charged SET applies_to_row = f.row_no
FROM (SELECT d.rowid AS place, r.row_no,
             row_number() OVER (PARTITION BY d.discount_id, r.row_no ORDER BY d.rowid) AS nth
      FROM charged d
      JOIN (SELECT subscription_charge_id, cycle_start, arg_max(row_no, amount) AS row_no
            FROM charged WHERE kind IN ('one_time', 'recurring', 'usage') GROUP BY ALL) r
        USING (subscription_charge_id, cycle_start)
      WHERE d.kind = 'discount') f
WHERE charged.rowid = f.place AND f.nth = 1
"""

_IN_PROPORTION = minor_units(_SCALED, "d.minor_digits")
_PROPORTIONAL = "o.discount_kind IN ('percentage', 'volume') AND d.billed > 0 AND d.now >= 0"


def discounts_changed(engine: Engine) -> None:
    """Add to ``charged`` what the discounts of the cycles in ``difference`` change by."""
    amount = "(s.scaled - s.amount)"
    engine.run(_DISCOUNTS.format(scaled=_IN_PROPORTION, which=_PROPORTIONAL, amount=amount))


def discounts_anew(engine: Engine) -> None:
    """Add to ``charged`` the discounts of the cycles in ``difference`` as they are now, where all
    that was given before is taken back. None takes off more than there is."""
    whole = "CAST(greatest(o.amount, -greatest(d.now, 0)) AS DECIMAL(20,4))"
    scaled = f"CASE WHEN {_PROPORTIONAL} THEN {_IN_PROPORTION} ELSE {whole} END"
    engine.run(_DISCOUNTS.format(scaled=scaled, which="true", amount="s.scaled"))
    engine.run(_DISCOUNTS_APPLY)


IN_PLACE = """
UPDATE charged SET adjustment_no = d.adjustment_no FROM difference d
WHERE d.subscription_charge_id = charged.subscription_charge_id
  AND d.cycle_start = charged.cycle_start
"""

ADJUSTMENTS = """
SELECT i.invoice_no, d.adjustment_no, d.subscription_charge_id, d.cycle_start, d.cycle_end,
       d.currency, CAST(d.billed AS DECIMAL(20,4)) AS billed_amount,
       CAST(d.now AS DECIMAL(20,4)) AS rated_amount
FROM difference d
JOIN (SELECT adjustment_no, min(billed_account_id) AS account_id, min(bill_part) AS bill_part
      FROM numbered GROUP BY adjustment_no) n USING (adjustment_no)
JOIN invoice i USING (account_id, bill_part)
ORDER BY d.adjustment_no
"""

DIFFERENCES = """
SELECT n.account, n.account_name, n.subscription, n.product, n.charge, d.cycle_start, d.cycle_end,
       d.currency, CAST(d.billed AS DECIMAL(20,4)) AS billed, CAST(d.now AS DECIMAL(20,4)) AS now,
       CAST(d.now - d.billed AS DECIMAL(20,4)) AS difference,
       CAST(coalesce(o.amount, 0) AS DECIMAL(20,4)) AS discounts
FROM difference d JOIN name n USING (subscription_charge_id)
LEFT JOIN (SELECT adjustment_no, sum(amount) AS amount FROM charged WHERE kind = 'discount'
           GROUP BY adjustment_no) o USING (adjustment_no)
WHERE d.billed_account_id NOT IN (SELECT account_id FROM problem)
ORDER BY n.account, n.subscription, n.charge, d.cycle_start
"""


@dataclass(frozen=True, slots=True)
class Rerated:
    """What a re-rating of some accounts comes to; nothing is stored yet.

    ``differences``: account, account_name, subscription, product, charge, cycle_start, cycle_end,
    currency, billed (net), now, difference, all before discounts, and discounts: what these add to
    the difference, or take off it.
    """

    bills: Bills
    differences: pa.Table


def compute_rerating(
    uow: UnitOfWork,
    store: UsageStore,
    accounts: Sequence[int],
    window: Window,
    invoice_date: date,
) -> Rerated:
    """Rate again all billed cycles of which a day lies in the window, storing nothing.

    The bills hold an invoice or a credit note for each of the billed ``accounts`` (ids) that has a
    difference.
    """
    with open_engine() as engine:
        rate_window(
            uow,
            engine,
            store,
            accounts,
            window,
            today=uow.now.date(),
            items=OVERLAPPING + BILLED,
        )
        engine.run(f"CREATE TABLE difference AS {_DIFFERENCE}")
        engine.run(IN_PLACE)
        engine.run("DELETE FROM charged WHERE adjustment_no IS NULL")
        engine.register("corrected", load_numbers(uow, engine))
        engine.run(TAKEN_BACK.format(which="b.discount_id IS NULL"))
        discounts_changed(engine)
        bills = assemble(uow, engine, accounts, invoice_date)
        charges = engine.rows("SELECT DISTINCT subscription_charge_id FROM difference")
        engine.register("name", load_line_names(uow, [int(row[0]) for row in charges]))
        return Rerated(
            replace(
                bills,
                adjustments=engine.arrow(ADJUSTMENTS),
                billed_through=bills.billed_through.slice(0, 0),
            ),
            engine.arrow(DIFFERENCES),
        )


def load_numbers(uow: UnitOfWork, engine: Engine) -> pa.Table:
    """rated_charge_id and the number of the invoice that carries it, of what is taken back."""
    rows = engine.rows(
        "SELECT rated_charge_id FROM billed_charge "
        "JOIN difference USING (subscription_charge_id, cycle_start)"
    )
    return uow.read_arrow(
        "SELECT r.id AS rated_charge_id, i.number FROM rated_charge r "
        "JOIN invoice i ON i.id = r.invoice_id WHERE r.id = ANY(:ids)",
        ids=[int(row[0]) for row in rows],
    )


@dataclass(slots=True)
class Sums:
    """Net ``billed`` before and rated ``now``, in major units of one currency, before discounts;
    the documents come to ``difference`` and ``discounts`` together."""

    billed: Decimal = Decimal(0)
    now: Decimal = Decimal(0)
    difference: Decimal = Decimal(0)
    discounts: Decimal = Decimal(0)


@dataclass
class ReratingSummary:
    """What a re-rating found and, if ``bill_run_id`` is set, made.

    ``accounts`` are billed accounts gone over, ``differences`` counts subscription charges and
    cycles, ``totals`` has what they cost by currency, ``listed`` the greatest of them (see
    ``Rerated.differences``), ``problems`` are (account id, code, message).
    """

    bill_run_id: int | None = None
    accounts: int = 0
    differences: int = 0
    invoices: int = 0
    totals: dict[str, Sums] = field(default_factory=dict)
    listed: list[Record] = field(default_factory=list)
    problems: list[tuple[int, str, str]] = field(default_factory=list)


DifferenceSink = Callable[[pa.Table], None]
"""Takes the differences of a batch, as ``Rerated.differences`` says."""


def rerate_bills(
    database: Database,
    store: UsageStore,
    window: Window,
    *,
    now: datetime,
    apply: bool = False,
    finalize: bool = True,
    invoice_date: date | None = None,
    accounts: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
    differences: DifferenceSink | None = None,
) -> ReratingSummary:
    """Rate again what was billed for the window, and show or, with ``apply``, make the difference.

    ``accounts`` are ids of billed accounts (None: all). Adjustments stand at once on an invoice or
    credit note of their own, dated ``invoice_date`` (today where None), which stays a draft unless
    ``finalize``. Doing it again adds nothing. Refuses (409) to apply while a bill run is going on.
    """
    order = _Order(window, invoice_date or now.date(), now, finalize=finalize)
    with database.transaction(now=now) as guard:
        if apply:
            lock_billing(guard)
            order = replace(order, bill_run_id=_begin(database, order))
        todo = billed_accounts(guard) if accounts is None else list(accounts)
        summary = _Summing(ReratingSummary(order.bill_run_id))
        for start in range(0, len(todo), BATCH_ACCOUNTS):
            batch = todo[start : start + BATCH_ACCOUNTS]
            for rerated in _rerate_batch(database, store, order, batch):
                summary.add(rerated)
                if differences is not None and rerated.differences.num_rows:
                    differences(rerated.differences)
            summary.found.accounts += len(batch)
            if progress is not None:
                progress(summary.found.accounts, len(todo))
    found = summary.finished()
    if found.bill_run_id is not None:
        _finish(database, found, now)
    return found


@dataclass(frozen=True, slots=True)
class _Order:
    """What is asked; without a bill run nothing is stored."""

    window: Window
    invoice_date: date
    now: datetime
    finalize: bool
    bill_run_id: int | None = None


def _begin(database: Database, order: _Order) -> int:
    with database.transaction(now=order.now) as uow:
        run = uow.create(
            "bill_run",
            {
                "billing_date": order.invoice_date,
                "purpose": "rerating",
                "finalize": order.finalize,
            },
        )
        return int(run["id"])


def _finish(database: Database, found: ReratingSummary, now: datetime) -> None:
    with database.transaction(now=now) as uow:
        uow.update(
            "bill_run",
            int(found.bill_run_id or 0),
            {
                "state": "finished",
                "finished_at": now,
                "invoices": found.invoices,
                "skipped_accounts": len({account for account, _, _ in found.problems}),
            },
        )


def _rerate_batch(
    database: Database, store: UsageStore, order: _Order, accounts: Sequence[int]
) -> Iterator[Rerated]:
    """Rate a batch again, in one transaction; when it cannot be computed, its halves, so that one
    account's fault is reported and stops nobody else's adjustment."""
    try:
        rerated = _rerate(database, store, order, accounts)
    except NotComputable as fault:
        if len(accounts) == 1:
            rerated = _give_up(database, order, accounts[0], str(fault).splitlines()[0][:1000])
        else:
            yield from _rerate_halves(database, store, order, accounts)
            return
    yield rerated


def _rerate_halves(
    database: Database, store: UsageStore, order: _Order, accounts: Sequence[int]
) -> Iterator[Rerated]:
    half = len(accounts) // 2
    for part in (accounts[:half], accounts[half:]):
        yield from _rerate_batch(database, store, order, part)


def _rerate(
    database: Database, store: UsageStore, order: _Order, accounts: Sequence[int]
) -> Rerated:
    if order.bill_run_id is None:
        with database.rehearsal(now=order.now) as uow:
            return compute_rerating(uow, store, accounts, order.window, order.invoice_date)
    batch = BatchOrder(
        tuple(accounts),
        order.invoice_date,
        order.bill_run_id,
        usage_seen=0,
        finalize=order.finalize,
        now=order.now,
        threads=None,
    )

    def adjust(uow: UnitOfWork) -> Rerated:
        lock_accounts(uow, accounts)
        rerated = compute_rerating(uow, store, accounts, order.window, order.invoice_date)
        save_bills(uow, rerated.bills, batch)
        return rerated

    return database.attempt(adjust, now=order.now)


def _give_up(database: Database, order: _Order, account: int, message: str) -> Rerated:
    """An account that cannot be computed at all, as a problem."""
    problem = (account, "not_computable", message)
    if order.bill_run_id is not None:
        with database.transaction(now=order.now) as uow:
            save_problems(uow, [problem], order.bill_run_id)
    nothing = pa.table({})
    names = ("account_id", "code", "message")
    problems = pa.Table.from_pylist([dict(zip(names, problem, strict=True))])
    return Rerated(Bills(nothing, nothing, nothing, nothing, nothing, nothing, problems), nothing)


class _Summing:
    """Adds up batches; keeps the greatest differences only, so that memory stays flat."""

    def __init__(self, found: ReratingSummary) -> None:
        self.found = found
        self._greatest: list[tuple[Decimal, int, Record]] = []

    def add(self, rerated: Rerated) -> None:
        """Take in what one batch came to."""
        self.found.invoices += rerated.bills.invoices.num_rows
        self.found.problems += [
            (int(row["account_id"]), str(row["code"]), str(row["message"]))
            for row in rerated.bills.problems.to_pylist()
        ]
        for row in rerated.differences.to_pylist():
            self.found.differences += 1
            digits = exponent(row["currency"])
            for name in ("billed", "now", "difference", "discounts"):
                row[name] = round_half_up(row[name], digits)
            total = self.found.totals.setdefault(row["currency"], Sums())
            total.billed += row["billed"]
            total.now += row["now"]
            total.difference += row["difference"]
            total.discounts += row["discounts"]
            entry = (abs(row["difference"]), -self.found.differences, row)
            if len(self._greatest) < LISTED:
                heappush(self._greatest, entry)
            else:
                heappushpop(self._greatest, entry)

    def finished(self) -> ReratingSummary:
        """The sums, with what is listed in order of account, subscription, charge and cycle."""
        rows = [row for _, _, row in self._greatest]
        order = ("account", "subscription", "charge", "cycle_start")
        self.found.listed = sorted(rows, key=lambda row: tuple(row[name] for name in order))
        return self.found
