"""Puts incentives beside the charges of a bill run, with what earlier invoices made of them.

How often a discount was used, what counts for a commitment and what is left of a balance is never
kept anywhere: it is added up from rated charges. So what is discarded with a draft is given back.
"""

from collections.abc import Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from counterfoil.business.billing.discount_formulas import make_discount_formulas
from counterfoil.business.billing.due import DUE_ON
from counterfoil.business.billing.formulas import load_scopes
from counterfoil.business.incentives.applying import (
    apply_commitments,
    apply_discounts,
    commitment_periods,
    draw_prepaid,
    with_minor_digits,
    with_rounds,
)
from counterfoil.business.incentives.loading import (
    Discounts,
    Present,
    load_commitments,
    load_discounts,
    load_grants,
    load_held_subtrees,
    load_seniority,
    load_subtrees,
)
from counterfoil.business.usage.store import UsageStore
from counterfoil.platform.engine.duck import Engine
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_USES = """
SELECT r.discount_id, r.holder_id,
       count(DISTINCT (i.account_id, coalesce(i.bill_run_id, -i.id)))
           FILTER (WHERE r.kind = 'discount' AND r.adjustment_id IS NULL) AS uses,
       CAST(-sum(r.amount) AS numeric(20,4)) AS amount
FROM rated_charge r
JOIN discount d ON d.id = r.discount_id
JOIN invoice i ON i.id = r.invoice_id
WHERE d.id = ANY(:discounts) AND i.invoice_date < :before
  AND (d.maximum_uses IS NOT NULL OR r.holder_id = ANY(:holders)
       AND (d.holder_uses IS NOT NULL OR d.holder_maximum IS NOT NULL))
GROUP BY r.discount_id, r.holder_id
"""

_CYCLES = """
SELECT DISTINCT r.discount_id, sc.subscription_id, sc.charge_id, r.cycle_start
FROM subscription_charge sc
JOIN rated_charge r ON r.subscription_charge_id = sc.id
JOIN discount d ON d.id = r.discount_id
JOIN invoice i ON i.id = r.invoice_id
WHERE d.id = ANY(:discounts) AND d.cycles IS NOT NULL AND r.kind = 'discount'
  AND i.invoice_date < :before
  AND sc.subscription_id = ANY(:subscriptions)
"""

_SAME_DAY = """
SELECT rp.product_id, ch.rate_plan_id, sc.charge_id, r.quantity, r.amount, r.service_start,
       r.currency, sc.subscription_id, r.discount_id, d.priority, i.invoice_date AS billed_on
FROM invoice i
JOIN account b ON b.id = i.account_id
JOIN rated_charge r ON r.invoice_id = i.id
JOIN subscription_charge sc ON sc.id = r.subscription_charge_id
JOIN charge ch ON ch.id = sc.charge_id
JOIN rate_plan rp ON rp.id = ch.rate_plan_id
LEFT JOIN discount d ON d.id = r.discount_id
WHERE i.invoice_date = CAST(:day AS date) AND b.root_id = ANY(:roots)
  AND r.kind IN ('one_time', 'recurring', 'usage', 'minimum', 'maximum', 'discount')
"""

_BASIS_LINE = """
SELECT NULL::BIGINT AS row_no, * FROM billed_same_day
UNION ALL BY NAME
SELECT row_no, subscription_id, product_id, rate_plan_id, charge_id, service_start, currency,
       quantity, amount, billed_on
FROM charged WHERE kind IN ('one_time', 'recurring', 'usage', 'minimum', 'maximum')
"""

_BASIS = """
SELECT d.discount_id, s.owner_id AS basis_id, s.subscription_id, NULL::BIGINT AS holder_id
FROM discount d JOIN basis_scope s ON s.scope = d.basis
WHERE NOT (d.basis = 'subtree' AND d.audience = 'holders')
  AND (d.kind = 'volume' OR d.discount_id IN (SELECT discount_id FROM discount_requirement))
UNION ALL SELECT discount_id, basis_id, subscription_id, holder_id FROM held_subtree
"""


def apply_incentives(
    uow: UnitOfWork,
    engine: Engine,
    accounts: Sequence[int],
    billing_date: date,
    present: Present,
    store: UsageStore,
    *,
    lock: bool,
) -> None:
    """Add to ``charged`` what discounts and commitments make of it, of these billed accounts.

    With ``lock`` nobody else can use what is used here until the unit of work ends.
    """
    if present.discounts or present.commitments or present.grants:
        day = f"DATE '{billing_date.isoformat()}'"
        engine.run(f"ALTER TABLE charged ADD COLUMN billed_on DATE DEFAULT {day}")
    if present.discounts:
        _apply_discounts(uow, engine, store, billing_date, lock=lock)
    if present.commitments:
        _apply_commitments(uow, engine, accounts, billing_date)


def draw_balances(uow: UnitOfWork, engine: Engine, billing_date: date, *, lock: bool) -> None:
    """Draw the totals of the invoices from the prepaid grants of their accounts."""
    owing = engine.rows(
        "SELECT billed_account_id FROM charged GROUP BY billed_account_id HAVING sum(amount) > 0"
    )
    usable = load_grants(uow, [int(row[0]) for row in owing], billing_date, billing_date, lock=lock)
    draw_from(engine, usable, uow.read_arrow(BALANCES, grants=_distinct(usable, "grant_id")))


def draw_from(engine: Engine, usable: pa.Table, balances: pa.Table) -> None:
    """Draw the totals of the invoices in ``charged`` from the grants their accounts may use (as
    load_grants gives them), which have these balances (grant_id, remaining). Needs ``profile``."""
    if usable.num_rows == 0:
        return
    engine.register("usable_grant", usable)
    engine.register("grant_balance", balances)
    left = {row["grant_id"] for row in balances.to_pylist() if row["remaining"] > 0}
    engine.register("grant_account", with_rounds(usable.filter(pc.field("grant_id").isin(left))))
    engine.run(
        "CREATE TABLE prepaid_grant AS SELECT DISTINCT u.grant_id, u.external_id, u.name, u.kind,"
        " b.remaining FROM usable_grant u JOIN grant_balance b USING (grant_id)"
        " WHERE b.remaining > 0"
    )
    draw_prepaid(engine)


BALANCES = """
SELECT g.id AS grant_id, CAST(g.amount
           - coalesce((SELECT sum(v.amount) FROM prepaid_void v
                       WHERE v.prepaid_grant_id = g.id), 0)
           + coalesce((SELECT sum(r.amount) FROM rated_charge r
                       WHERE r.prepaid_grant_id = g.id), 0) AS numeric(20,4)) AS remaining
FROM prepaid_grant g WHERE g.id = ANY(:grants)
"""
"""What is left of grants: granted, less what was taken back, less what invoices drew."""


_DUE_DAY = f"""
UPDATE charged SET billed_on = {DUE_ON.format(s="i.")}
FROM due_item i WHERE i.item_id = charged.item_id
"""


def discount_as_due(uow: UnitOfWork, engine: Engine, store: UsageStore, *, discounts: bool) -> None:
    """Date ``charged`` and take ``discounts`` off it as bill runs would have that bill everything
    on the day it is due. What later invoices used of a discount does not count."""
    engine.run("ALTER TABLE charged ADD COLUMN billed_on DATE")
    engine.run(_DUE_DAY)
    if not discounts:
        return
    (first,) = engine.row("SELECT min(billed_on) FROM charged")
    if first is not None:
        _apply_discounts(uow, engine, store, None, before=first)


def _apply_discounts(
    uow: UnitOfWork,
    engine: Engine,
    store: UsageStore,
    billing_date: date | None,
    *,
    before: date = date.max,
    lock: bool = False,
) -> None:
    scopes = engine.rows("SELECT DISTINCT account_id, root_id FROM charged")
    roots = sorted({int(row[1]) for row in scopes})
    discounts = load_discounts(uow, [int(row[0]) for row in scopes], roots, lock=lock)
    if discounts.discount.num_rows == 0:
        return
    engine.register("discount", discounts.discount)
    engine.register("discount_scope", discounts.scope)
    engine.register("discount_target", discounts.target)
    engine.register("discount_tier", discounts.tier)
    engine.register("discount_requirement", discounts.requirement)
    engine.register("requirement_running", discounts.running)
    _load_discount_history(uow, engine, discounts, billing_date, before, roots)
    engine.run(f"CREATE TABLE basis_line AS {_BASIS_LINE}")
    make_discount_formulas(uow, engine, store)
    apply_discounts(engine)


def _load_discount_history(
    uow: UnitOfWork,
    engine: Engine,
    discounts: Discounts,
    billing_date: date | None,
    before: date,
    roots: Sequence[int],
) -> None:
    """What invoices before a date say of these discounts; what was billed on the billing date, if
    there is one."""
    holders = {int(row[0]) for row in engine.rows("SELECT DISTINCT billed_account_id FROM charged")}
    engine.register("seniority", load_seniority(uow, sorted(holders)))
    holders |= set(discounts.scope.column("holder_id").to_pylist())
    uses = uow.read_arrow(_USES, discounts=discounts.ids, holders=sorted(holders), before=before)
    engine.register("discount_use", uses)
    subscriptions = engine.rows(
        "SELECT DISTINCT subscription_id FROM charged WHERE subscription_id IS NOT NULL"
    )
    by_cycle = any(one is not None for one in discounts.discount.column("cycles").to_pylist())
    cycles = uow.read_arrow(
        _CYCLES,
        discounts=discounts.ids,
        subscriptions=[int(row[0]) for row in subscriptions] if by_cycle else [],
        before=before,
    )
    engine.register("discount_cycle", cycles)
    counting = discounts.counting
    held = [one["discount_id"] for one in counting if _is_held_subtree(one)]
    scopes = sorted({one["basis"] for one in counting if not _is_held_subtree(one)})
    over = list(roots) if counting else []
    same_day = over if billing_date is not None else []
    engine.register("billed_same_day", uow.read_arrow(_SAME_DAY, day=billing_date, roots=same_day))
    engine.register("basis_scope", load_scopes(uow, over, scopes))
    engine.register("held_subtree", load_held_subtrees(uow, held, over))
    engine.run(f"CREATE TABLE discount_basis AS {_BASIS}")


def _distinct(table: pa.Table, column: str) -> list[int]:
    return sorted(set(table.column(column).to_pylist()))


def _is_held_subtree(discount: Record) -> bool:
    return bool(discount["basis"] == "subtree" and discount["audience"] == "holders")


# What a commitment has added counts as when it was added: see line_product_id of commitments.
COUNTED_BEFORE = """
SELECT coalesce(s.account_id, c.account_id) AS account_id, s.id AS subscription_id,
       coalesce(ch.rate_plan_id, c.rate_plan_id, s.rate_plan_id) AS rate_plan_id,
       coalesce(c.product_id, rp.product_id) AS product_id,
       coalesce(v.service_start, r.service_start) AS counts_on, r.currency, r.commitment_id,
       r.subject_id, CASE WHEN r.commitment_id IS NOT NULL THEN r.cycle_start END AS period_start,
       CASE WHEN r.commitment_id IS NOT NULL THEN r.cycle_end END AS period_end,
       CAST(sum(r.amount) AS numeric(20,4)) AS amount, count(*) AS parts
FROM invoice i
JOIN rated_charge r ON r.invoice_id = i.id
LEFT JOIN rated_charge v ON v.id = r.reverses_id
LEFT JOIN subscription_charge sc ON sc.id = r.subscription_charge_id
LEFT JOIN subscription s ON s.id = coalesce(sc.subscription_id, nullif(r.subject_id, 0))
LEFT JOIN charge ch ON ch.id = sc.charge_id
LEFT JOIN commitment c ON c.id = r.commitment_id
LEFT JOIN rate_plan rp
  ON rp.id = coalesce(ch.rate_plan_id, c.rate_plan_id, s.rate_plan_id)
WHERE i.account_id IN (SELECT id FROM account
                       WHERE id = ANY(:accounts) AND root_id = ANY(:roots))
  AND r.kind NOT IN ('prepaid', 'credit', 'debit', 'one_off')
  AND (coalesce(v.service_start, r.service_start) >= :since OR r.commitment_id IS NOT NULL)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
"""
"""What earlier invoices of these accounts say that may count for commitments of these trees, of
which the first began ``since`` a day."""

_COMMITMENT_ACCOUNT = """
SELECT k.commitment_id, k.subject_id, k.account_id, k.billed_account_id
FROM commitment k WHERE k.scope <> 'subtree'
UNION ALL
SELECT k.commitment_id, k.subject_id, m.account_id, m.billed_account_id
FROM commitment k JOIN commitment_subtree m USING (commitment_id)
"""

# A subscription may have a plan, and so its commitment, several times.
_ONE_EACH = """
SELECT * FROM commitment_stretch
QUALIFY row_number() OVER (PARTITION BY commitment_id, subject_id ORDER BY start_date DESC) = 1
"""

_OTHER_CURRENCY = """
SELECT DISTINCT billed_account_id, 'commitment_currency', 'commitment "' || min(external_id)
       || '" is in ' || min(currency) || ', the account is billed in ' || min(billed_currency)
FROM commitment WHERE currency <> billed_currency GROUP BY billed_account_id
"""


def _apply_commitments(
    uow: UnitOfWork, engine: Engine, accounts: Sequence[int], billing_date: date
) -> None:
    found = load_commitments(uow, accounts)
    if found.num_rows == 0:
        return
    before = uow.read_arrow(
        COUNTED_BEFORE,
        accounts=list(accounts),
        roots=_distinct(found, "root_id"),
        since=min(found["start_date"].to_pylist()),
    )
    periods = commitment_periods(found, billing_date)
    keep_commitments(uow, engine, accounts, found, periods, before, billing_date)


def keep_commitments(
    uow: UnitOfWork,
    engine: Engine,
    accounts: Sequence[int],
    found: pa.Table,
    periods: pa.Table,
    before: pa.Table,
    billing_date: date,
    *,
    as_due: bool = False,
) -> None:
    """Add to ``charged`` what the commitments ``found`` of these billed accounts make of it in
    their ``periods``, after what was billed ``before`` (``COUNTED_BEFORE``); ``as_due`` on each of
    the days on which it is billed."""
    engine.register("commitment_stretch", with_minor_digits(found, "currency"))
    engine.run(f"CREATE TABLE commitment AS {_ONE_EACH}")
    ids = _distinct(found, "commitment_id")
    engine.register("commitment_subtree", load_subtrees(uow, accounts, ids))
    engine.run(f"CREATE TABLE commitment_account AS {_COMMITMENT_ACCOUNT}")
    engine.run(f"INSERT INTO problem {_OTHER_CURRENCY}")
    engine.run("DELETE FROM charged WHERE billed_account_id IN (SELECT account_id FROM problem)")
    engine.register("commitment_period", periods)
    engine.register("counted_before", before)
    apply_commitments(engine, billing_date, as_due=as_due)
