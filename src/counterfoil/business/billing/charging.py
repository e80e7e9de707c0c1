"""From what is due to rated charges: ``charged``, what a bill run, a preview and a simulation bill.

Reads what rating needs out of PostgreSQL, rates, and puts what is given back and what minimums and
maximums add beside it. What there is none of is not computed: for one account planning a statement
takes longer than running it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from counterfoil.business.billing.allowances import load_entitled, make_allowances
from counterfoil.business.billing.buckets import rate_on
from counterfoil.business.billing.due import (
    Due,
    every_charge,
    make_cycles,
    make_due_items,
    make_reversible,
)
from counterfoil.business.billing.formulas import (
    FormulaTerms,
    load_formulas,
    make_known_amounts,
    register_formulas,
)
from counterfoil.business.billing.loading import (
    load_billed_charges,
    load_cells,
    load_charges,
    load_meter_filters,
    load_pool_members,
)
from counterfoil.business.billing.price_layers import load_prices
from counterfoil.business.billing.rating import look_at_items
from counterfoil.business.billing.relations import midnight_relation, usage_between
from counterfoil.business.billing.usage_needed import few_subscriptions, keep_usage, make_new_days
from counterfoil.business.usage.store import BUCKETS, Manifest, UsageStore, visible_segments
from counterfoil.core.rating.bounds import BOUNDS
from counterfoil.core.rating.relations import BILLED_USAGE, QUANTITY
from counterfoil.core.rating.statements import Needs
from counterfoil.platform.engine.duck import Engine
from counterfoil.platform.engine.runner import IN_THIS_PROCESS, Runner
from counterfoil.platform.records.unit_of_work import UnitOfWork

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
       || ' or its cell is not there, or the pricing models differ'
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

# What is counted only is not rated; what is rated for the sake of others is not charged.
_RATED_ROWS = """
SELECT i.item_id, i.billed_account_id, i.account_id, i.root_id, i.account_name, i.site_name,
       i.product_id, i.product_name, i.rate_plan_id, i.charge_id, i.charge_name,
       i.subscription_id, i.subscription_charge_id, i.kind, i.currency, i.minor_digits, i.unit,
       i.cycle_start, i.cycle_end, r.service_start, r.service_end, r.service_start AS counts_on,
       NULL::BIGINT AS reverses_id, r.price_id, r.layer, r.quantity, r.quantity_before,
       r.included_quantity, r.events, r.days, r.cycle_days, r.unit_amount,
       r.list_amount, r.exact_amount, r.amount,
       CAST(coalesce(to_json(s.steps), '[]') AS VARCHAR) AS steps, {formulas} AS formulas, i.late,
       NULL::BIGINT AS discount_id, NULL::BIGINT AS holder_id
FROM rated r JOIN charge_item i USING (item_id) JOIN priced_epoch s USING (item_id, epoch_no)
{traced}WHERE NOT i.tree_only
"""
_TRACED = "LEFT JOIN formula_trace t USING (item_id, epoch_no)\n"
_UNTRACED = {"formulas": "NULL::VARCHAR", "traced": ""}

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
FROM reversed b WHERE b.back <> 0 AND NOT b.tree_only
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
"""
_WITHOUT_FAULTY = "WHERE c.billed_account_id NOT IN (SELECT account_id FROM problem)"

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


@dataclass(frozen=True, slots=True)
class Items:
    """What ``make_items`` has put on the engine, and what of it has to be read again."""

    charges: pa.Table
    formulas: FormulaTerms
    due: Due
    manifest: Manifest


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
) -> Items:
    """Make ``charge_item`` and ``due_item`` of what is due by ``day``.

    With ``running`` the rest of the cycles that have begun by then is taken for due as well. Only
    ``items`` that this condition lets through are made.
    """
    charges = load_charges(uow, accounts, day)
    formulas = load_formulas(uow, accounts, charges, day)
    rated = every_charge(charges, formulas.tree)
    register_formulas(engine, formulas)
    line = load_line(uow, engine, rated, day)
    manifest = visible_segments(uow)
    make_new_days(engine, store, manifest, rated, line, newer_than=usage_seen)
    make_cycles(engine, rated, day)
    due = make_due_items(engine, rated, date.max if running else day, condition=items)
    return Items(rated, formulas, due, manifest)


def price_items(uow: UnitOfWork, engine: Engine, items: Items) -> None:
    """Make all else that ``make_charged`` needs of these items."""
    again: list[int] = []
    if items.due.late or items.due.given_back:
        rows = engine.rows(
            "SELECT subscription_charge_id FROM late_cycle UNION "
            "SELECT subscription_charge_id FROM every_charge WHERE billed_through > end_date"
        )
        again = [int(row[0]) for row in rows]
    load_terms(uow, engine, items.charges, load_billed_charges(uow, again))
    if items.due.given_back:
        make_reversible(engine)
    make_known_amounts(uow, engine, items.formulas, given_back=items.due.given_back)


def load_line(uow: UnitOfWork, engine: Engine, charges: pa.Table, billing_date: date) -> pa.Table:
    """Make ``entitled`` and ``pool_member``, what goes by event; the latter is given back."""
    entitled = load_entitled(uow, charges)
    members = load_pool_members(uow, charges, entitled, billing_date)
    engine.register("entitled", entitled)
    engine.register("pool_member", members)
    return members


PRICED_FOR = (
    *("account_id", "charge_id", "site_id", "contact_id", "contract_id", "subscription_id"),
)
"""Columns of charges by which their prices are found."""


def load_terms(uow: UnitOfWork, engine: Engine, charges: pa.Table, billed: pa.Table) -> None:
    """Put beside ``charge_item`` the prices of the charges, what was ``billed`` of them earlier,
    and what late usage among the items continues."""
    engine.register("earlier_charge", billed)
    if billed.num_rows:
        engine.run(f"CREATE TABLE billed_charge AS {_IN_FORCE}")
    else:
        engine.register("billed_charge", billed)
    cells = load_cells(uow, charges["charge_id"].unique().to_pylist())
    prices, tiers, layers = load_prices(uow, charges, billed)
    if engine.has_rows("pool_member") and (
        any(table.num_rows for table in cells.values()) or pc.max(prices["free_events"]).as_py()
    ):
        # What others of the pool use falls into the cells, and is free, by their own prices.
        members = engine.arrow(f"SELECT {', '.join(PRICED_FOR)} FROM pool_member")
        tables = [table.select(list(PRICED_FOR)) for table in (charges, members)]
        everyone = pa.concat_tables(tables, promote_options="permissive")
        prices, tiers, layers = load_prices(uow, everyone, billed)
    engine.register("price", prices)
    engine.register("price_tier", tiers)
    engine.register("price_layer", layers)
    meters = set(charges["meter_id"].drop_null().unique().to_pylist())
    if engine.has_rows("usage_reader"):
        meters |= {meter for (meter,) in engine.rows("SELECT meter_id FROM usage_reader")}
    engine.register("meter_filter", load_meter_filters(uow, meters))
    for name, table in cells.items():
        engine.register(name, table)
    if billed.num_rows:
        engine.run(f"CREATE TABLE billed_usage AS {_BILLED_USAGE}")
    else:
        engine.leave_empty("billed_usage", BILLED_USAGE.nothing)


_BILLED_USAGE = f"""
SELECT i.item_id, b.service_start, b.service_end, b.price_id, b.layer,
       CAST(string_split(b.partial_ids, ',') AS BIGINT[]) AS partial_ids,
       CAST(sum(b.quantity) AS {QUANTITY}) AS quantity,
       CAST(sum(b.exact_amount) AS {QUANTITY}) AS exact_amount,
       CAST(sum(b.list_amount) AS {QUANTITY}) AS list_amount,
       CAST(sum(b.amount) AS DECIMAL(20,4)) AS amount
FROM charge_item i JOIN billed_charge b USING (subscription_charge_id)
WHERE i.late AND b.kind = 'usage' AND b.service_start >= i.service_start
  AND b.service_start < i.service_end
GROUP BY ALL
"""


def make_charged(
    uow: UnitOfWork,
    engine: Engine,
    store: UsageStore,
    items: Items,
    runner: Runner = IN_THIS_PROCESS,
    *,
    for_events: bool = False,
    used: bool = False,
) -> Needs:
    """Rate ``charge_item`` and give back ``reversible``: make ``charged``, one row per rated charge
    to be, and ``problem``, whose accounts are not in it. With ``for_events`` the events stay as
    they are stored, with where they came from. What was needed for it is given back, with ``used``
    among it if asked for."""
    make_allowances(uow, engine)
    manifest = items.manifest
    engine.define("usage_read", f"SELECT CAST({manifest.newest} AS BIGINT) AS newest_segment")
    needs, days = look_at_items(engine)
    needs = replace(needs, used=used)
    span, subscriptions = midnight_relation(days), few_subscriptions(engine)
    of_all = sorted({root % BUCKETS for root in items.charges["root_id"].unique().to_pylist()})

    def usage_of(buckets: list[int] | None) -> str | None:
        chosen = of_all if buckets is None else buckets
        select = usage_between(manifest, store, span, buckets=chosen, subscriptions=subscriptions)
        if subscriptions is None or runner.splits or for_events:
            return select
        return keep_usage(engine, select, needs)

    rate_on(runner, engine, usage_of, needs)
    traced = engine.has_rows("formula")
    engine.run("CREATE TABLE problem (account_id BIGINT, code VARCHAR, message VARCHAR)")
    faulty = needs.attributes or traced or needs.partials or needs.cells or _some_unpriced(engine)
    if faulty:
        engine.run(f"INSERT INTO problem {' UNION ALL '.join(_problems(needs, traced=traced))}")
    told = {"formulas": "t.formulas", "traced": _TRACED} if traced else _UNTRACED
    rows = [_RATED_ROWS.format_map(told)]
    if items.due.given_back:
        rows.append(_REVERSED_ROWS)
    if needs.bounds:
        engine.run(f"CREATE TABLE billed_bound AS {_BILLED_BOUND}")
        for statement in BOUNDS:
            engine.run(statement.create)
        rows.append(_BOUNDED_ROWS)
    charged = _CHARGED.format(rows=" UNION ALL ".join(rows))
    engine.run(f"CREATE TABLE charged AS {charged}{_WITHOUT_FAULTY if faulty else ''}")
    if needs.bounds:
        engine.run(_BOUNDS_APPLY)
    return needs


def _some_unpriced(engine: Engine) -> bool:
    """Whether a price or a tier is missing: asked first, as it rarely is."""
    unpriced = engine.rows("SELECT 1 FROM price_epoch WHERE price_id IS NULL LIMIT 1")
    return bool(unpriced) or engine.has_rows("uncovered")


def _problems(needs: Needs, *, traced: bool) -> Iterator[str]:
    """What keeps accounts from being billed, where there may be such."""
    yield _NO_PRICE
    yield _NO_TIER
    if needs.cells:
        yield _NO_CELL
    if needs.attributes:
        yield _NO_QUANTITY
    if traced:
        yield _NO_VALUE
    if needs.partials:
        yield _CONFLICTING_LAYERS
