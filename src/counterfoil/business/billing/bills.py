"""The computation of bills: from what is due to rated charges, lines and invoices.

One path for bill run, preview and scenario: ``compute_bills`` reads, rates and assembles, and
changes nothing. What is done with the result (stored, shown) is its caller's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from counterfoil.business.billing.allowances import DRAWS, load_entitled, make_allowances
from counterfoil.business.billing.buckets import rate_on
from counterfoil.business.billing.due import make_cycles, make_due_items, make_reversible
from counterfoil.business.billing.formulas import (
    load_formulas,
    make_known_amounts,
    register_formulas,
)
from counterfoil.business.billing.incentives import apply_incentives, draw_balances
from counterfoil.business.billing.loading import (
    load_billed_charges,
    load_cells,
    load_charges,
    load_meter_filters,
    load_open_drafts,
    load_pool_members,
    load_profiles,
)
from counterfoil.business.billing.parts import NAMED, SNAPSHOT, share_out
from counterfoil.business.billing.price_layers import load_prices
from counterfoil.business.billing.rating import usage_span
from counterfoil.business.billing.relations import (
    midnight_relation,
    usage_between,
)
from counterfoil.business.billing.told_fields import tell_custom_fields
from counterfoil.business.billing.usage_needed import few_subscriptions, keep_usage, make_new_usage
from counterfoil.business.incentives.loading import Present, find_present, load_whole_trees
from counterfoil.business.usage.store import UsageStore, visible_segments
from counterfoil.core.rating.bounds import BOUNDS
from counterfoil.core.rating.relations import QUANTITY
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


_NO_PRICE = """
SELECT i.billed_account_id AS account_id, 'no_price' AS code,
       'no price in ' || any_value(i.currency) || ' for charge "' || any_value(i.charge_name)
       || '" on ' || CAST(min(e.epoch_start) AS VARCHAR) || CASE WHEN count(*) > 1
       THEN ' (and ' || CAST(count(*) - 1 AS VARCHAR) || ' more)' ELSE '' END AS message
FROM price_epoch e JOIN due_item i USING (item_id)
WHERE e.price_id IS NULL
GROUP BY i.billed_account_id
"""

_NO_TIER = """
SELECT i.billed_account_id, 'no_tier',
       'price ' || CAST(min(u.price_id) AS VARCHAR) || ' of charge "' || any_value(i.charge_name)
       || '" has no tier for ' || rtrim(rtrim(CAST(max(u.units) AS VARCHAR), '0'), '.')
       || ' ' || any_value(i.unit)
       || CASE WHEN count(*) > 1 THEN ' (and ' || CAST(count(*) - 1 AS VARCHAR) || ' more)'
          ELSE '' END
FROM uncovered u JOIN due_item i USING (item_id)
GROUP BY i.billed_account_id
"""

_NO_VALUE = """
SELECT i.billed_account_id, 'no_value',
       left('the ' || replace(min(f.place), '_', ' ') || ' of charge "' || any_value(i.charge_name)
       || '" has no value: ' || min(f.told), 900) || CASE WHEN count(*) > 1
       THEN ' (and ' || CAST(count(*) - 1 AS VARCHAR) || ' more)' ELSE '' END
FROM formula_fault f JOIN due_item i USING (item_id)
GROUP BY i.billed_account_id
"""

_CONFLICTING_LAYERS = """
SELECT i.billed_account_id, 'conflicting_layers',
       'partial price ' || CAST(min(f.partial_id) AS VARCHAR) || ' of charge "'
       || any_value(i.charge_name) || '" does not fit price '
       || CAST(arg_min(f.price_id, f.partial_id) AS VARCHAR)
       || ', over which it lies: the tier from '
       || rtrim(rtrim(CAST(arg_min(f.from_quantity, f.partial_id) AS VARCHAR), '0'), '.')
       || ' is not one of its tiers, or the pricing models differ'
FROM conflicting f JOIN due_item i USING (item_id)
GROUP BY i.billed_account_id
"""

_NO_QUANTITY = """
SELECT i.billed_account_id, 'no_quantity',
       'usage of charge "' || any_value(i.charge_name) || '" has no number in '
       || any_value(i.quantity_attribute) || ': event ' || min(u.event_id)
       || CASE WHEN sum(u.events) > 1
          THEN ' and ' || CAST(sum(u.events) - 1 AS VARCHAR) || ' more' ELSE '' END
FROM unreadable u JOIN due_item i USING (item_id)
GROUP BY i.billed_account_id
"""

_NO_CELL = """
SELECT i.billed_account_id, 'no_cell',
       'the price of charge "' || any_value(i.charge_name) || '" has no cell for '
       || arg_max(u.found, u.events) || ' (' || CAST(sum(u.events) AS VARCHAR) || ' events'
       || CASE WHEN count(DISTINCT u.found) > 1
          THEN ', ' || CAST(count(DISTINCT u.found) - 1 AS VARCHAR) || ' more such' ELSE '' END
       || ')'
FROM unmatched u JOIN due_item i USING (item_id)
GROUP BY i.billed_account_id
"""

# What is built on a draft would be wrong without it, so a draft is decided on before more is
# billed to its account.
_OPEN_DRAFT = """
SELECT DISTINCT billed_account_id, 'open_draft',
       'there is a draft of this account: finalize or discard it first'
FROM charged WHERE billed_account_id IN (SELECT account_id FROM open_draft)
"""

_RATED_ROWS = """
SELECT i.item_id, i.billed_account_id, i.account_id, i.root_id, i.account_name, i.site_name,
       i.product_id, i.product_name, i.rate_plan_id, i.charge_id, i.charge_name,
       i.subscription_id, i.subscription_charge_id, i.kind, i.currency, i.minor_digits, i.unit,
       i.cycle_start, i.cycle_end, r.service_start, r.service_end, r.service_start AS counts_on,
       NULL::BIGINT AS reverses_id, r.price_id, r.layer, r.quantity, r.quantity_before,
       r.included_quantity, r.events, r.days, r.cycle_days, r.unit_amount,
       r.list_amount, r.exact_amount, r.amount,
       CAST(coalesce(to_json(s.steps), '[]') AS VARCHAR) AS steps, t.formulas, i.late,
       NULL::BIGINT AS discount_id, NULL::BIGINT AS holder_id
FROM rated r JOIN due_item i USING (item_id) JOIN priced_epoch s USING (item_id, epoch_no)
LEFT JOIN formula_trace t USING (item_id, epoch_no)
"""

_REVERSED_ROWS = """
SELECT NULL, b.billed_account_id, b.account_id, b.root_id, b.account_name, b.site_name,
       b.product_id, b.product_name, b.rate_plan_id, b.charge_id,
       coalesce(b.applied_name, b.charge_name), b.subscription_id, b.subscription_charge_id,
       'reversal', b.currency, b.minor_digits, CASE WHEN b.applied_name IS NULL THEN b.unit ELSE ''
       END, b.cycle_start, b.cycle_end, b.service_start, b.service_end, b.counts_on,
       b.rated_charge_id, b.price_id, b.layer, b.billed_quantity,
       CAST(0 AS DECIMAL(38,15)), CAST(0 AS DECIMAL(38,15)), 0,
       b.service_end - b.service_start, b.cycle_days, NULL,
       CAST(-b.back AS DECIMAL(38,15)), CAST(-b.back AS DECIMAL(38,15)),
       CAST(-b.back AS DECIMAL(20,4)), '[]', NULL, false, b.discount_id, b.holder_id
FROM reversed b WHERE b.back <> 0
"""

_BOUNDED_ROWS = """
SELECT b.item_id, i.billed_account_id, i.account_id, i.root_id, i.account_name, i.site_name,
       i.product_id, i.product_name, i.rate_plan_id, i.charge_id,
       i.charge_name || ' (' || b.kind || ')', i.subscription_id, i.subscription_charge_id,
       b.kind, i.currency, i.minor_digits, '', i.cycle_start, i.cycle_end, i.service_start,
       i.service_end, i.service_start, NULL, NULL, NULL, 0, 0, 0, 0,
       i.service_end - i.service_start, i.cycle_end - i.cycle_start, NULL, b.amount, b.amount,
       b.amount, CAST(to_json([struct_pack(bound := b.bound, cost := b.cost)]) AS VARCHAR),
       NULL, i.late, NULL, NULL
FROM bounded b JOIN due_item i USING (item_id)
"""

_CHARGED = """
SELECT c.*, row_number() OVER () AS row_no, NULL::BIGINT AS applies_to_row, 0 AS section,
       NULL::BIGINT AS commitment_id, NULL::BIGINT AS subject_id,
       NULL::BIGINT AS prepaid_grant_id, NULL::BIGINT AS commitment_part,
       NULL::BIGINT AS adjustment_no, NULL::VARCHAR AS corrects, NULL::VARCHAR AS bill_part
FROM ({rows}) c
WHERE c.billed_account_id NOT IN (SELECT account_id FROM problem)
"""

_BOUNDS_APPLY = """
UPDATE charged SET applies_to_row = b.row_no
FROM (SELECT item_id, arg_max(row_no, service_start) AS row_no FROM charged
      WHERE kind IN ('one_time', 'recurring', 'usage') GROUP BY item_id) b
WHERE b.item_id = charged.item_id AND charged.kind IN ('minimum', 'maximum')
"""

_BILLED_BOUND = """
SELECT i.item_id, b.kind, sum(b.amount) AS amount
FROM due_item i JOIN billed_charge b USING (subscription_charge_id, cycle_start)
WHERE i.late AND b.kind IN ('minimum', 'maximum') GROUP BY i.item_id, b.kind
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

# What an adjustment took back no longer counts, nor what was given back of it before; what stands
# in its place does. A credit note changes what is owed, not what was served: nothing is billed anew
# because of it.
_IN_FORCE = """
SELECT r.* FROM earlier_charge r
WHERE r.kind NOT IN ('adjustment', 'credit', 'debit')
  AND NOT EXISTS (SELECT 1 FROM earlier_charge a
                  WHERE a.kind = 'adjustment' AND a.reverses_id = r.rated_charge_id)
  AND NOT EXISTS (SELECT 1 FROM earlier_charge a
                  WHERE a.kind = 'adjustment' AND a.reverses_id = r.reverses_id)
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
    SELECT subscription_charge_id, end_date FROM charge
    WHERE billed_through > end_date
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
    asked, accounts = accounts, whole_trees(uow, accounts, present)
    little = small or _is_little(uow, accounts)
    with small_engine() if little else open_engine(threads=threads) as engine:
        make_items(uow, engine, store, accounts, billing_date, usage_seen=usage_seen)
        make_charged(uow, engine, store, runner)
        exclude_drafts(uow, engine, accounts)
        apply_incentives(uow, engine, accounts, billing_date, present, store, lock=lock)
        keep_only(engine, asked)
        engine.register("profile", load_profiles(uow, asked))
        if present.grants:
            draw_balances(uow, engine, billing_date, lock=lock)
        return _make_documents(uow, engine, billing_date, stored=not small)


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


def whole_trees(uow: UnitOfWork, accounts: Sequence[int], present: Present) -> Sequence[int]:
    """The accounts with all others on whose bills their incentives depend."""
    if present.discounts or present.commitments:
        return load_whole_trees(uow, accounts)
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


def make_items(
    uow: UnitOfWork,
    engine: Engine,
    store: UsageStore,
    accounts: Sequence[int],
    day: date,
    *,
    usage_seen: int,
    running: bool = False,
    items: str = "true",
) -> None:
    """Make all that ``make_charged`` needs of what is due by ``day``.

    With ``running`` the rest of the cycles that have begun by then is taken for due as well. Only
    ``items`` that this condition lets through are made.
    """
    charges = load_charges(uow, accounts, day)
    formulas = load_formulas(uow, accounts, charges, day)
    rated = pa.concat_tables([charges, formulas.tree])
    engine.register("charge", charges)
    engine.register("tree_charge", formulas.tree)
    register_formulas(engine, formulas)
    load_line(uow, engine, rated, day)
    make_new_usage(engine, store, visible_segments(uow), newer_than=usage_seen)
    make_cycles(engine, day)
    make_due_items(engine, date.max if running else day, condition=items)
    again = engine.rows(
        "SELECT subscription_charge_id FROM late_cycle UNION "
        "SELECT subscription_charge_id FROM every_charge WHERE billed_through > end_date"
    )
    billed = load_billed_charges(uow, [int(row[0]) for row in again])
    load_terms(uow, engine, rated, billed)
    make_reversible(engine)
    make_known_amounts(uow, engine, formulas)


def load_line(uow: UnitOfWork, engine: Engine, charges: pa.Table, billing_date: date) -> None:
    """Put beside ``charge`` what goes by event: ``entitled`` and ``pool_member``."""
    entitled = load_entitled(uow, charges)
    engine.register("entitled", entitled)
    engine.register("pool_member", load_pool_members(uow, charges, entitled, billing_date))


def load_terms(uow: UnitOfWork, engine: Engine, charges: pa.Table, billed: pa.Table) -> None:
    """Put beside ``charge_item`` the prices of the charges, what was ``billed`` of them earlier,
    and what late usage among the items continues."""
    engine.register("earlier_charge", billed)
    engine.run(f"CREATE TABLE billed_charge AS {_IN_FORCE}")
    prices, tiers, layers = load_prices(uow, charges, billed)
    engine.register("price", prices)
    engine.register("price_tier", tiers)
    engine.register("price_layer", layers)
    meters = engine.rows(
        "SELECT meter_id FROM charge_item WHERE meter_id IS NOT NULL "
        "UNION SELECT meter_id FROM usage_reader"
    )
    engine.register("meter_filter", load_meter_filters(uow, [int(row[0]) for row in meters]))
    of_items = engine.rows("SELECT DISTINCT charge_id FROM charge_item")
    for name, cells in load_cells(uow, [int(row[0]) for row in of_items]).items():
        engine.register(name, cells)
    engine.run(
        "CREATE TABLE billed_usage AS SELECT i.item_id, b.service_start, b.service_end, "
        "b.price_id, b.layer, "
        "CAST(string_split(b.partial_ids, ',') AS BIGINT[]) AS partial_ids, "
        f"CAST(sum(b.quantity) AS {QUANTITY}) AS quantity, "
        f"CAST(sum(b.exact_amount) AS {QUANTITY}) AS exact_amount, "
        f"CAST(sum(b.list_amount) AS {QUANTITY}) AS list_amount, "
        "CAST(sum(b.amount) AS DECIMAL(20,4)) AS amount "
        "FROM charge_item i JOIN billed_charge b USING (subscription_charge_id) "
        "WHERE i.late AND b.kind = 'usage' AND b.service_start >= i.service_start "
        "AND b.service_start < i.service_end GROUP BY ALL"
    )


def make_charged(
    uow: UnitOfWork,
    engine: Engine,
    store: UsageStore,
    runner: Runner = IN_THIS_PROCESS,
    *,
    for_events: bool = False,
    as_of: int | None = None,
) -> None:
    """Rate ``charge_item`` and give back ``reversible``: make ``charged``, one row per rated charge
    to be, and ``problem``, whose accounts are not in it. With ``for_events`` the events stay as
    they are stored, with where they came from. ``as_of`` is the newest usage segment that counts,
    when not all do."""
    make_allowances(uow, engine)
    span = midnight_relation(usage_span(engine))
    manifest = visible_segments(uow, as_of=as_of)
    engine.run(
        f"CREATE TABLE usage_read AS SELECT CAST({manifest.newest} AS BIGINT) AS newest_segment"
    )
    subscriptions = few_subscriptions(engine, "charge_item")

    def usage_of(buckets: list[int]) -> str | None:
        select = usage_between(manifest, store, span, buckets=buckets, subscriptions=subscriptions)
        if subscriptions is None or runner.splits or for_events:
            return select
        return keep_usage(engine, select)

    rate_on(runner, engine, usage_of)
    engine.run(f"CREATE TABLE problem AS {_NO_PRICE}")
    engine.run(f"INSERT INTO problem {_NO_TIER}")
    engine.run(f"INSERT INTO problem {_NO_CELL}")
    engine.run(f"INSERT INTO problem {_NO_QUANTITY}")
    engine.run(f"INSERT INTO problem {_NO_VALUE}")
    engine.run(f"INSERT INTO problem {_CONFLICTING_LAYERS}")
    rows = [_RATED_ROWS, _REVERSED_ROWS]
    if _has_bounds(engine):
        engine.run(f"CREATE TABLE billed_bound AS {_BILLED_BOUND}")
        for statement in BOUNDS:
            engine.run(statement.create)
        rows.append(_BOUNDED_ROWS)
    engine.run(f"CREATE TABLE charged AS {_CHARGED.format(rows=' UNION ALL '.join(rows))}")
    if len(rows) > 2:
        engine.run(_BOUNDS_APPLY)


def _has_bounds(engine: Engine) -> bool:
    """Whether any price has a minimum or maximum per cycle."""
    found = engine.row("SELECT count(minimum_amount) + count(maximum_amount) FROM price")
    return bool(found[0])


def exclude_drafts(uow: UnitOfWork, engine: Engine, accounts: Sequence[int]) -> None:
    """Take the accounts that have a draft out of ``charged``."""
    engine.register("open_draft", load_open_drafts(uow, accounts))
    engine.run(f"INSERT INTO problem {_OPEN_DRAFT}")
    engine.run("DELETE FROM charged WHERE billed_account_id IN (SELECT account_id FROM problem)")


def assemble(uow: UnitOfWork, engine: Engine, accounts: Sequence[int], billing_date: date) -> Bills:
    """Make invoices and lines of ``charged``, without the accounts that have a draft."""
    engine.register("profile", load_profiles(uow, accounts))
    exclude_drafts(uow, engine, accounts)
    return _make_documents(uow, engine, billing_date)


def _make_documents(
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
