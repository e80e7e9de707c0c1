"""The computation of bills: from what is due to rated charges, lines and invoices.

One path for bill run, preview and scenario: ``compute_bills`` reads, rates and assembles, and
changes nothing. What is done with the result (stored, shown) is its caller's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from counterfoil.business.billing.allowances import DRAWS
from counterfoil.business.billing.charging import make_charged, make_items, price_items
from counterfoil.business.billing.incentives import apply_incentives, draw_balances
from counterfoil.business.billing.loading import load_open_drafts, load_profiles
from counterfoil.business.billing.parts import NAMED, SNAPSHOT, share_out
from counterfoil.business.billing.told_fields import tell_custom_fields
from counterfoil.business.incentives.loading import Present, find_present, load_whole_trees
from counterfoil.business.usage.store import UsageStore
from counterfoil.core.rating.relations import Relation
from counterfoil.platform.engine.duck import Engine, open_engine, small_engine
from counterfoil.platform.engine.runner import IN_THIS_PROCESS, Runner
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Bills:
    """What some accounts are billed; nothing is stored yet.

    ``invoices``: invoice_no, account_id, site_id, purchase_order, kind, currency, invoice_date,
    due_date, total, usage_segment_seen, snapshot.
    ``rated_charges``: charge_no, invoice_no and the fields of the entity rated_charge;
    applies_to_no is the charge_no that applies_to_id stands for.
    ``lines``: charge_no, invoice_no, position and the fields of the entity invoice_line.
    ``billed_through``: subscription_charge_id, billed_through.
    ``draws``: charge_no and the fields of the entity allowance_draw.
    ``partials``: charge_no and the fields of the entity rated_charge_partial.
    ``adjustments``: invoice_no, adjustment_no and the fields of the entity adjustment; only a
    re-rating makes them.
    ``problems``: account_id, code, message; these accounts have no invoice in here.
    """

    invoices: pa.Table
    rated_charges: pa.Table
    lines: pa.Table
    billed_through: pa.Table
    draws: pa.Table
    partials: pa.Table
    problems: pa.Table
    adjustments: pa.Table | None = None


NOTHING_DUE = Bills(*(pa.table({}) for _ in range(7)))

OPEN_DRAFT = Relation(
    "open_draft", {"account_id": "BIGINT"}, "Billed accounts of which something stands on a draft."
)

# What is built on a draft would be wrong without it, so a draft is decided on before more is
# billed to its account.
_OPEN_DRAFT = """
SELECT DISTINCT billed_account_id, 'open_draft',
       'there is a draft of this account: finalize or discard it first'
FROM charged WHERE billed_account_id IN (SELECT account_id FROM open_draft)
"""

# What changes another row follows it. Sorted without the columns that only go along: twice as fast.
_NUMBERED = """
WITH place AS (
    SELECT c.rowid AS place_id,
           row_number() OVER (PARTITION BY c.subscription_charge_id, c.cycle_start, c.service_start
               ORDER BY c.applies_to_row NULLS FIRST, c.kind, c.reverses_id, c.row_no) AS nth,
           row_number() OVER (ORDER BY c.billed_account_id, coalesce(c.section, 0) = 2,
               c.account_name, coalesce(c.section, 0), c.site_name NULLS FIRST, c.product_name,
               coalesce(b.charge_name, c.charge_name), c.subscription_id, c.service_start,
               coalesce(b.kind, c.kind), c.subscription_charge_id, c.reverses_id,
               coalesce(c.applies_to_row, c.row_no), c.row_no) AS charge_no
    FROM charged c
    LEFT JOIN (SELECT row_no, charge_name, kind FROM charged) b ON b.row_no = c.applies_to_row
    WHERE c.billed_account_id NOT IN (SELECT account_id FROM problem)
)
SELECT c.* REPLACE (coalesce(c.bill_part, '') AS bill_part),
       coalesce(c.commitment_part, coalesce(p.parts, 0) + l.nth - 1) AS part, l.charge_no
FROM charged c
JOIN place l ON l.place_id = c.rowid
LEFT JOIN (SELECT subscription_charge_id, cycle_start, count(*) AS parts FROM earlier_charge
           WHERE kind NOT IN ('credit', 'debit') GROUP BY ALL) p
  ON p.subscription_charge_id = c.subscription_charge_id AND p.cycle_start = c.cycle_start
"""

_INVOICE = """
SELECT row_number() OVER (ORDER BY c.billed_account_id, c.bill_part) AS invoice_no, c.bill_part,
       c.billed_account_id AS account_id, {named},
       CASE WHEN sum(c.amount) < 0 THEN 'credit_note' ELSE 'invoice' END AS kind,
       any_value(p.currency) AS currency, DATE '{billing_date}' AS invoice_date,
       DATE '{billing_date}' + CAST(any_value(p.terms_days) AS INTEGER) AS due_date,
       CAST(sum(c.amount) AS DECIMAL(20,4)) AS total,
       (SELECT newest_segment FROM usage_read) AS usage_segment_seen,
       {snapshot} AS snapshot
FROM numbered c JOIN profile p USING (billed_account_id)
GROUP BY c.billed_account_id, c.bill_part
"""

_RATED_CHARGES = """
SELECT c.charge_no, i.invoice_no, c.subscription_charge_id, c.kind, c.cycle_start, c.cycle_end,
       c.service_start, c.service_end, c.part, c.reverses_id, a.charge_no AS applies_to_no,
       c.discount_id, c.holder_id, c.commitment_id, c.subject_id, c.prepaid_grant_id,
       c.price_id, c.layer,
       CAST(c.quantity AS DECIMAL(38,15)) AS quantity,
       CAST(c.quantity_before AS DECIMAL(38,15)) AS quantity_before,
       CAST(c.included_quantity AS DECIMAL(38,15)) AS included_quantity,
       CAST(c.events AS BIGINT) AS events, CAST(c.days AS BIGINT) AS days,
       CAST(c.cycle_days AS BIGINT) AS cycle_days,
       CAST(c.list_amount AS DECIMAL(38,15)) AS list_amount,
       CAST(c.exact_amount AS DECIMAL(38,15)) AS exact_amount,
       CAST(c.amount AS DECIMAL(20,4)) AS amount, c.currency, c.steps, c.formulas,
       c.adjustment_no
FROM numbered c JOIN invoice i ON i.account_id = c.billed_account_id AND i.bill_part = c.bill_part
LEFT JOIN numbered a ON a.row_no = c.applies_to_row
ORDER BY c.charge_no
"""

_LINES = """
SELECT c.charge_no, i.invoice_no,
       row_number() OVER (PARTITION BY i.invoice_no ORDER BY c.charge_no) AS position,
       c.account_name, c.site_name, c.product_name,
       CASE WHEN c.kind IN ('reversal', 'adjustment')
                 OR c.late AND c.kind = 'usage' AND c.quantity < 0
            THEN 'Credit: ' || c.charge_name || coalesce(' (' || c.corrects || ')', '')
            WHEN c.adjustment_no IS NOT NULL THEN c.charge_name || ' (rated again)'
            WHEN c.late AND c.kind = 'usage' AND c.part > 0 THEN c.charge_name || ' (late usage)'
            ELSE c.charge_name END AS description,
       c.service_start, c.service_end, CAST(c.quantity AS DECIMAL(38,15)) AS quantity, c.unit,
       c.unit_amount, CAST(c.amount AS DECIMAL(20,4)) AS amount
FROM numbered c
JOIN invoice i ON i.account_id = c.billed_account_id AND i.bill_part = c.bill_part
ORDER BY c.charge_no
"""

_PARTIALS = """
SELECT c.charge_no, unnest(e.partial_ids) AS price_id,
       CAST(unnest(range(1, len(e.partial_ids) + 1)) AS BIGINT) AS position
FROM price_epoch e
JOIN due_item i USING (item_id)
JOIN numbered c ON c.subscription_charge_id = i.subscription_charge_id
 AND c.cycle_start = i.cycle_start AND c.service_start = e.epoch_start AND c.late = i.late
WHERE e.partial_ids IS NOT NULL AND c.kind IN ('one_time', 'recurring', 'usage')
"""

# Also what came to nothing is billed: a month without usage is not looked at again.
_BILLED_THROUGH = """
SELECT subscription_charge_id, max(day) AS billed_through FROM (
    SELECT subscription_charge_id, service_end AS day FROM due_item
    WHERE NOT late AND billed_account_id IN (SELECT billed_account_id FROM profile)
      AND billed_account_id NOT IN (SELECT account_id FROM problem)
    UNION ALL
    SELECT subscription_charge_id, end_date FROM every_charge
    WHERE billed_through > end_date AND NOT tree_only
      AND billed_account_id IN (SELECT billed_account_id FROM profile)
      AND billed_account_id NOT IN (SELECT account_id FROM problem))
GROUP BY subscription_charge_id
"""


def compute_bills(
    uow: UnitOfWork,
    store: UsageStore,
    accounts: Sequence[int],
    billing_date: date,
    *,
    usage_seen: int,
    threads: int | None = None,
    small: bool = False,
    runner: Runner = IN_THIS_PROCESS,
    lock: bool = False,
) -> Bills:
    """Bill everything due by ``billing_date`` of these billed accounts (ids), storing nothing.

    ``usage_seen`` is the highest usage segment earlier bill runs considered: usage of newer ones
    for cycles already billed is late and billed as its own line. ``runner`` says where it is rated.
    With ``lock`` the discounts and balances used are locked until the unit of work ends: for bills
    that will be stored. ``small`` answers sooner for a few accounts, without what only storing them
    needs (``billed_through`` and ``draws``).
    """
    present = find_present(uow)
    # What is stored is billed in turn (commands.py): what others will use up need not be known.
    drawn_first = present.grants and not lock
    asked = accounts
    accounts = whole_trees(uow, accounts, present, used_up=not lock, drawing=drawn_first)
    little = small or _is_little(uow, accounts)
    with small_engine() if little else open_engine(threads=threads) as engine:
        items = make_items(uow, engine, store, accounts, billing_date, usage_seen=usage_seen)
        due = engine.has_rows("charge_item") or items.due.given_back
        if not (due or present.commitments):
            return NOTHING_DUE
        price_items(uow, engine, items)
        make_charged(uow, engine, store, items, runner)
        exclude_drafts(uow, engine, accounts)
        apply_incentives(uow, engine, accounts, billing_date, present, store, lock=lock)
        if accounts is not asked and not drawn_first:
            keep_only(engine, asked)
        engine.register("profile", load_profiles(uow, accounts if drawn_first else asked))
        if present.grants:
            draw_balances(uow, engine, billing_date, lock=lock)
        if drawn_first:
            keep_only(engine, asked)
        return make_documents(uow, engine, billing_date, stored=not small)


FEW_ACCOUNTS = 20
LITTLE_USAGE = 50_000


def _is_little(uow: UnitOfWork, accounts: Sequence[int]) -> bool:
    """Whether planning the statements takes longer than computing them."""
    if len(accounts) > FEW_ACCOUNTS:
        return False
    found = uow.query(
        "SELECT coalesce(sum(events), 0) AS events FROM usage_segment WHERE state <> 'replaced'"
    )
    return int(found[0]["events"]) <= LITTLE_USAGE


def whole_trees(
    uow: UnitOfWork,
    accounts: Sequence[int],
    present: Present,
    *,
    used_up: bool = True,
    drawing: bool = False,
) -> Sequence[int]:
    """The accounts with all others on whose bills their incentives depend, with ``used_up`` also
    those with which they share a discount that can be used up, with ``drawing`` a balance."""
    if present.discounts or present.commitments or drawing:
        return load_whole_trees(uow, accounts, used_up=used_up, drawing=drawing)
    return accounts


def keep_only(engine: Engine, accounts: Sequence[int]) -> None:
    """Forget what was computed of other billed accounts than these."""
    asked = pa.table({"account_id": pa.array(list(accounts), pa.int64())})
    engine.register("asked", asked)
    for relation, column in (
        ("charged", "billed_account_id"),
        ("problem", "account_id"),
    ):
        engine.run(f"DELETE FROM {relation} WHERE {column} NOT IN (SELECT account_id FROM asked)")


def exclude_drafts(uow: UnitOfWork, engine: Engine, accounts: Sequence[int]) -> None:
    """Take the accounts that have a draft out of ``charged``."""
    engine.register("open_draft", load_open_drafts(uow, accounts))
    if not engine.has_rows("open_draft"):
        return
    engine.run(f"INSERT INTO problem {_OPEN_DRAFT}")
    engine.run("DELETE FROM charged WHERE billed_account_id IN (SELECT account_id FROM problem)")


def assemble(uow: UnitOfWork, engine: Engine, accounts: Sequence[int], billing_date: date) -> Bills:
    """Make invoices and lines of ``charged``, without the accounts that have a draft."""
    engine.register("profile", load_profiles(uow, accounts))
    exclude_drafts(uow, engine, accounts)
    return make_documents(uow, engine, billing_date)


def make_documents(
    uow: UnitOfWork, engine: Engine, billing_date: date, *, stored: bool = True
) -> Bills:
    """Make invoices and lines of ``charged``, with ``profile`` (loading.load_profiles), and what
    it takes to have them ``stored``."""
    share_out(uow, engine)
    engine.run(f"CREATE TABLE numbered AS {_NUMBERED}")
    invoice = _INVOICE.format(billing_date=billing_date.isoformat(), named=NAMED, snapshot=SNAPSHOT)
    engine.run(f"CREATE TABLE invoice AS {invoice}")
    charges = engine.arrow(_RATED_CHARGES)
    invoices, lines = tell_custom_fields(
        uow,
        engine.arrow("SELECT * EXCLUDE (bill_part) FROM invoice ORDER BY invoice_no"),
        engine.arrow(_LINES),
        charges,
    )
    return Bills(
        invoices=invoices,
        rated_charges=charges,
        lines=lines,
        billed_through=engine.arrow(_BILLED_THROUGH) if stored else pa.table({}),
        draws=engine.arrow(DRAWS) if stored else pa.table({}),
        partials=engine.arrow(_PARTIALS) if stored else pa.table({}),
        problems=engine.arrow("SELECT * FROM problem ORDER BY account_id"),
    )
