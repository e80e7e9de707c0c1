"""Billed usage event by event: what each one added to its rated charge.

The events are read back from the usage store and priced one by one by the statements that priced
them together. Charges whose meter is read as a whole look back as far as it counts.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from counterfoil.business.billing.formula_events import StoredFormulas
from counterfoil.business.billing.loading import load_cells, load_meter_filters
from counterfoil.business.billing.price_layers import billed_prices
from counterfoil.business.billing.relations import (
    make_relation,
    midnight_relation,
    usage_between,
)
from counterfoil.business.billing.usage_needed import few
from counterfoil.business.usage.store import BUCKETS, UsageStore, visible_segments
from counterfoil.core.rating.attributes import ATTRIBUTES, PIECES, attribute_statements
from counterfoil.core.rating.cells import MATRIX_TERMS, cell_statements
from counterfoil.core.rating.itemised import itemised
from counterfoil.core.rating.itemised_meters import itemised_meters
from counterfoil.core.rating.meters import priced_anew
from counterfoil.core.rating.prices import LAID_TIER, laid_over
from counterfoil.core.rating.quantities import EventSource
from counterfoil.core.rating.relations import EVENT, SMALLEST_QUANTITY, Statement
from counterfoil.platform.engine.duck import Engine, open_engine, small_engine
from counterfoil.platform.records.unit_of_work import UnitOfWork

# Late usage is itemised together with what its service period was billed for before.
_ITEMISABLE = """
SELECT r.id AS item_id, sc.charge_id AS rated_charge_of, sc.charge_id,
       s.id AS subscription_id, c.meter_id,
       m.aggregation,
       coalesce(c.event_minimum, 0)::numeric(38,15) AS event_minimum,
       coalesce(c.event_increment, CAST(:smallest AS numeric))::numeric(38,15) AS event_increment,
       c.unit_size, c.unit_rounding, m.quantity_attribute, m.property,
       m.percentile, m.carried_over,
       m.carried_over AND c.proration = 'by_day' AND m.aggregation <> 'weighted_sum'
           AND c.pooled_over = 'subscription' AS stood,
       c.pooled_over <> 'subscription' AS by_event, r.price_id,
       (SELECT string_agg(f.price_id::text, ',' ORDER BY f.position)
        FROM rated_charge_partial f WHERE f.rated_charge_id = r.id)::text AS partial_ids,
       (CASE WHEN NOT r.late THEN r.quantity_before ELSE 0 END)::numeric(38,15) AS quantity_before,
       NOT r.late AND r.service_start > greatest(r.cycle_start, sc.start_date) AS begun,
       r.service_start > greatest(r.cycle_start, sc.start_date) AS later,
       CASE WHEN m.carried_over THEN sc.start_date
            ELSE greatest(r.cycle_start, sc.start_date) END AS counted_from,
       greatest(r.cycle_start, sc.start_date) AS first_day, r.cycle_start, r.cycle_end,
       r.service_start, r.service_end, p.time_zone, a.root_id,
       coalesce(st.time_zone, p.time_zone) AS usage_zone, i.usage_segment_seen
FROM (SELECT *, part > 0 AND adjustment_id IS NULL AS late FROM rated_charge) r
JOIN subscription_charge sc ON sc.id = r.subscription_charge_id
JOIN subscription s ON s.id = sc.subscription_id
JOIN account a ON a.id = s.account_id
LEFT JOIN site st ON st.id = s.site_id
JOIN charge c ON c.id = sc.charge_id
JOIN meter m ON m.id = c.meter_id
JOIN invoice i ON i.id = r.invoice_id
JOIN billing_profile p ON p.account_id = i.account_id
WHERE r.id = ANY(:ids) AND r.kind = 'usage'
"""

_DAYS = ("service_start", "service_end", "counted_from", "first_day", "cycle_start", "cycle_end")

_USAGE_EPOCH = """
SELECT i.*, coalesce(t.terms_id, i.price_id) AS terms_id, b.instant AS start_at,
       e.instant AS end_at
FROM charge_item i
LEFT JOIN terms t USING (price_id, partial_ids)
JOIN midnight b ON b.time_zone = i.time_zone AND b.day = i.service_start
JOIN midnight e ON e.time_zone = i.time_zone AND e.day = i.service_end
"""

_READ_EPOCH = """
SELECT i.* EXCLUDE (percentile), 1 AS epoch_no, NOT i.later AS first,
       coalesce(t.terms_id, i.price_id) AS terms_id,
       coalesce(t.terms_id, i.price_id) IN (SELECT terms_id FROM matrix_terms) AS matrix,
       CAST(i.percentile * 1000 AS BIGINT) AS percentile_milli,
       i.service_start AS epoch_start, i.service_end AS epoch_end,
       CAST(i.cycle_end - i.cycle_start AS BIGINT) AS cycle_days, b.instant AS epoch_at,
       e.instant AS end_at, c.instant AS start_at, f.instant AS first_at,
       epoch_us(q.instant) - epoch_us(p.instant) AS cycle_us
FROM charge_item i
LEFT JOIN terms t USING (price_id, partial_ids)
JOIN midnight b ON b.time_zone = i.time_zone AND b.day = i.service_start
JOIN midnight e ON e.time_zone = i.time_zone AND e.day = i.service_end
JOIN midnight c ON c.time_zone = i.time_zone AND c.day = i.counted_from
JOIN midnight f ON f.time_zone = i.time_zone AND f.day = i.first_day
JOIN midnight p ON p.time_zone = i.time_zone AND p.day = i.cycle_start
JOIN midnight q ON q.time_zone = i.time_zone AND q.day = i.cycle_end
"""

_CHARGE_ITEM = """
SELECT * REPLACE (CAST(string_split(partial_ids, ',') AS BIGINT[]) AS partial_ids)
FROM charge_read
"""

_BILLED_PRICES = """
SELECT id AS price_id, charge_id, model, package_size, included_quantity
FROM price WHERE id = ANY(:ids)
"""

_BILLED_TIERS = """
SELECT price_id, cell_no, from_quantity, up_to, unit_amount, flat_amount
FROM price_tier WHERE price_id = ANY(:ids)
"""


def itemise_usage(uow: UnitOfWork, store: UsageStore, rated_charges: Sequence[int]) -> pa.Table:
    """Every usage event of these rated charges (ids), priced one by one; all that took the same
    usage into account at once.

    Columns: rated_charge_id, source, event_id, time TIMESTAMP (UTC), batch_id, line, attributes,
    quantity DECIMAL(38,15) in meter units, billed_quantity DECIMAL(38,15) in priced units,
    exact_amount and list_amount DECIMAL(38,25); charge by charge in the order in which the events
    stand in the tiers.
    """
    charges = uow.read_arrow(_ITEMISABLE, ids=list(rated_charges), smallest=SMALLEST_QUANTITY)
    with small_engine() as engine:
        engine.register("charge_item", charges)
        _register_cells(uow, engine, charges)
        anew = {
            row[0] for row in engine.rows(f"SELECT item_id FROM charge_item WHERE {priced_anew()}")
        }
    stored = StoredFormulas(uow, rated_charges)
    anew.update(stored.rated_charges)
    is_anew = pc.is_in(charges.column("item_id"), value_set=pa.array(sorted(anew), pa.int64()))
    plain, whole = charges.filter(pc.invert(is_anew)), charges.filter(is_anew)
    parts = [_itemise(uow, store, part, None) for part in _by_usage_seen(plain)]
    parts += [_itemise(uow, store, part, stored) for part in _by_usage_seen(whole) if part.num_rows]
    return pa.concat_tables([part.cast(parts[0].schema) for part in parts])


def _by_usage_seen(charges: pa.Table) -> list[pa.Table]:
    """The charges apart by the usage they took into account; one part when there are none."""
    column = charges.column("usage_segment_seen")
    seen = column.unique().to_pylist()
    return [charges.filter(pc.equal(column, segment)) for segment in seen] or [charges]


def _itemise(
    uow: UnitOfWork, store: UsageStore, charges: pa.Table, whole: StoredFormulas | None
) -> pa.Table:
    """The events of charges that took the same usage into account and are all read as a ``whole``,
    with the formulas they were priced with, or none."""
    seen = charges.column("usage_segment_seen")
    rows = charges.select([*_DAYS, "time_zone", "root_id"]).to_pylist()
    midnights = midnight_relation({(row["time_zone"], row[day]) for row in rows for day in _DAYS})
    buckets = sorted({row["root_id"] % BUCKETS for row in rows})
    select = usage_between(
        visible_segments(uow, as_of=seen[0].as_py() if charges.num_rows else 0),
        store,
        midnights,
        buckets=buckets,
        # What is read as a whole counts together with others.
        subscriptions=None if whole else few(charges.column("subscription_id").to_pylist()),
    )
    prices = billed_prices(charges)
    with small_engine() if len(rows) <= 1 else open_engine() as engine:
        make_relation(engine, "usage", EVENT, select)
        engine.register("charge_read", charges)
        engine.run(f"CREATE TABLE charge_item AS {_CHARGE_ITEM}")
        engine.run(laid_over("charge_item").create)
        engine.register(
            "meter_filter", load_meter_filters(uow, charges.column("meter_id").to_pylist())
        )
        engine.register("midnight", midnights)
        engine.register("price", uow.read_arrow(_BILLED_PRICES, ids=prices))
        engine.register("price_tier", uow.read_arrow(_BILLED_TIERS, ids=prices))
        _register_cells(uow, engine, charges)
        _run(engine, whole)
        return engine.arrow("SELECT * EXCLUDE (event_no) FROM itemised ORDER BY event_no")


def _register_cells(uow: UnitOfWork, engine: Engine, charges: pa.Table) -> None:
    for name, cells in load_cells(uow, charges.column("charge_id").to_pylist()).items():
        engine.register(name, cells)


def _run(engine: Engine, whole: StoredFormulas | None) -> None:
    names = tuple(name for (name,) in engine.rows(ATTRIBUTES))
    pieces = tuple(int(minute) for (minute,) in engine.rows(PIECES))
    cells = whole is not None and engine.has_rows("price_cell")
    source = EventSource(attributes=bool(names or pieces), cells=cells)
    statements = itemised(source)
    if whole is not None:
        statements = itemised_meters(source, whole.formulas)
    for statement in (
        LAID_TIER,
        MATRIX_TERMS,
        Statement("usage_epoch", _USAGE_EPOCH if whole is None else _READ_EPOCH),
        *attribute_statements(names, pieces, keep=True),
        *(cell_statements(pieces) if cells else ()),
        *statements,
    ):
        engine.run(statement.create)
        if whole is not None and whole.formulas.placed and statement.name == "event":
            whole.register(engine)
