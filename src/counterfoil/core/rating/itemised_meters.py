"""Event by event for meters that are read as a whole: by how much each event moved the reading.

The chain of readings after each event, in order of time, ends at the reading that was priced; so
the differences add up to the charge, whatever the meter does with its events. Of a percentile the
last event bears the difference, because no event has a share of it.
"""

from counterfoil.core.money.exact_sql import decimal15, half_up, raw
from counterfoil.core.rating.formula_prices import (
    NO_FORMULAS,
    QUANTITY_FORMULA,
    Formulas,
    formula_quantities,
    formula_steps,
)
from counterfoil.core.rating.meters import LOCAL_DAY, SIGNED
from counterfoil.core.rating.quantities import EventSource, with_priced_units
from counterfoil.core.rating.relations import QUANTITY, Statement
from counterfoil.core.rating.tiers import Tiers, tier_steps

_ORDER = "ORDER BY time, source, event_id"


def _moved(source: EventSource) -> str:
    """Every event of the meter's past with what it changes: in itself, for a count of different
    values, and as the microseconds for which a change stood inside the epoch."""
    return f"""
SELECT e.item_id AS charge_id, u.*, e.aggregation, e.unit_size, e.unit_rounding, e.stood, e.first,
       e.terms_id, e.price_id, {source.cell_no} AS cell_no, e.epoch_start, e.epoch_end,
       e.cycle_days, e.cycle_us, e.percentile_milli, {source.property_value} AS thing,
       u.time >= e.epoch_at OR e.first OR e.stood OR e.aggregation = 'weighted_sum' AS listed,
       u.time >= e.epoch_at AS recent,
       CAST(u.quantity >= 0 AS INTEGER) AS there, {SIGNED} AS signed,
       CASE WHEN e.stood THEN greatest({LOCAL_DAY}, e.first_day) END AS day,
       CASE WHEN e.aggregation = 'weighted_sum' THEN {raw("u.quantity", 15)}
            * (epoch_us(e.end_at) - epoch_us(greatest(u.time, e.epoch_at))) END AS area,
       CASE WHEN e.aggregation = 'weighted_sum' AND u.time < e.epoch_at THEN {raw("u.quantity", 15)}
            * (epoch_us(e.epoch_at) - epoch_us(greatest(u.time, e.first_at))) END AS area_before
FROM {source.events_in_epochs}
WHERE {source.cell_no} IS NOT NULL
"""


_READ = f"""
WITH changed AS (
    SELECT *, CASE WHEN aggregation = 'unique_count'
              THEN there - lag(there, 1, 0) OVER (
                  PARTITION BY charge_id, cell_no, thing {_ORDER}) ELSE 0 END AS came
    FROM moved WHERE aggregation <> 'unique_count' OR thing IS NOT NULL
)
SELECT * EXCLUDE (there, came), CAST(CASE aggregation
           WHEN 'sum' THEN sum(signed) OVER so_far
           WHEN 'count' THEN count(*) OVER so_far
           WHEN 'max' THEN max(quantity) OVER so_far
           WHEN 'latest' THEN quantity
           WHEN 'unique_count' THEN sum(came) OVER so_far END AS {QUANTITY}) AS read,
       sum(area) OVER so_far AS area_so_far,
       coalesce(sum(area_before) OVER whole, 0) AS area_at_start,
       row_number() OVER so_far AS number, count(*) OVER whole AS events
FROM changed
WINDOW so_far AS (PARTITION BY charge_id, cell_no {_ORDER} ROWS UNBOUNDED PRECEDING),
       whole AS (PARTITION BY charge_id, cell_no)
"""

_RANK = "(count(*) {0} * any_value(percentile_milli) + 99999) // 100000"
_PERCENTILE = f"""
SELECT charge_id, cell_no, list_sort(list(quantity))[{_RANK.format("")}] AS at_end,
       list_sort(list(quantity) FILTER (NOT recent))[{_RANK.format("FILTER (NOT recent)")}]
           AS at_start
FROM moved WHERE aggregation = 'percentile' GROUP BY ALL
"""


def _area(area: str) -> str:
    return decimal15(half_up(area, "cycle_us::HUGEINT"))


_BOTH_ENDS = f"""
WITH valued AS (
    SELECT r.*, CASE r.aggregation
               WHEN 'weighted_sum' THEN {_area("(area_at_start + area_so_far)")}
               WHEN 'percentile' THEN CASE WHEN number = events THEN p.at_end ELSE p.at_start END
               ELSE read END AS value,
           CASE r.aggregation WHEN 'weighted_sum' THEN {_area("area_at_start")}
                WHEN 'percentile' THEN p.at_start END AS value_at_start
    FROM read_event r LEFT JOIN event_percentile p USING (charge_id, cell_no)
)
SELECT charge_id, cell_no, source, event_id, unit_size, unit_rounding, false AS early,
       CAST(coalesce(value, 0) AS {QUANTITY}) AS meter_units FROM valued
UNION ALL
SELECT charge_id, cell_no, source, event_id, unit_size, unit_rounding, true,
       CAST(coalesce(CASE WHEN first AND aggregation <> 'weighted_sum' THEN 0 ELSE value_at_start
                     END, 0) AS {QUANTITY})
FROM valued WHERE number = 1
"""

# Between the events of one day nothing is due: the level at the day's end counts.
_EVENT = f"""
WITH units AS (
    SELECT charge_id, cell_no, source, event_id,
           max(priced_units) FILTER (NOT early) AS level,
           max(priced_units) FILTER (early) AS level_at_start
    FROM ({with_priced_units(_BOTH_ENDS, rounding=True)}) GROUP BY ALL
), placed AS (
    SELECT r.*, u.level, lag(u.level, 1, u.level_at_start) OVER so_far AS level_before,
           lead(day) OVER so_far IS DISTINCT FROM day AS ends_day,
           last_value(u.level) OVER (so_far ROWS BETWEEN UNBOUNDED PRECEDING
               AND UNBOUNDED FOLLOWING) AS reach
    FROM read_event r JOIN units u USING (charge_id, cell_no, source, event_id)
    WINDOW so_far AS (PARTITION BY r.charge_id, r.cell_no ORDER BY r.number)
), peaked AS (
    SELECT *, max(CASE WHEN ends_day THEN level END) OVER (PARTITION BY charge_id, cell_no
               ORDER BY number ROWS UNBOUNDED PRECEDING) AS peak
    FROM placed
)
SELECT *, lag(peak) OVER (PARTITION BY charge_id, cell_no ORDER BY number) AS peak_before
FROM peaked
"""

_LISTED = f"""
SELECT row_number() OVER (ORDER BY charge_id, time, source, event_id) AS event_no, *
FROM ({_EVENT}) WHERE listed
"""

_POSITION = f"""
SELECT event_no AS position_id, event_no AS item_id, 1 AS epoch_no, cell_no, 1 AS events,
       level AS quantity_after, CAST(level_before AS {QUANTITY}) AS quantity_before,
       NOT first OR number > 1 AS continues, true AS used, NULL AS list_before, NULL AS list_after,
       CAST(CASE WHEN stood THEN reach END AS {QUANTITY}) AS reach, NULL AS list_reach,
       CASE WHEN stood THEN CAST(epoch_end - greatest(day, epoch_start) AS BIGINT) END
           AS share_days,
       CASE WHEN stood THEN cycle_days END AS cycle_days,
       CAST(peak AS {QUANTITY}) AS peak_after,
       CAST(CASE WHEN day >= epoch_start THEN peak_before ELSE peak END AS {QUANTITY})
           AS peak_before
FROM event
"""

_EPOCH = "SELECT event_no AS item_id, 1 AS epoch_no, price_id, terms_id FROM event"

# Unit-days are divided as they add up, so that the shares of the events add up to the whole's.
_SHARE = decimal15(
    half_up(
        raw(
            f"CAST(sum({{units}} * coalesce(t.share_days, 1)) OVER so_far AS {QUANTITY})",
            15,
        ),
        "coalesce(t.cycle_days, 1)::HUGEINT",
    )
)
_AMOUNT = f"""
WITH running AS (
    SELECT t.*, e.charge_id, e.cell_no, e.event_no,
           {_SHARE.format(units="t.units")} AS units_so_far,
           {_SHARE.format(units="coalesce(t.list_units, t.units)")} AS list_units_so_far,
           coalesce(t.list_amount - t.list_units * t.unit_amount, t.flat_amount) AS list_flat_amount
    FROM tier_step t JOIN event e ON e.event_no = t.position_id
    WINDOW so_far AS (PARTITION BY e.charge_id, e.cell_no, t.from_quantity
                      ORDER BY e.event_no ROWS UNBOUNDED PRECEDING)
), difference AS (
    SELECT event_no, flat_amount, list_flat_amount, unit_amount,
           CAST(units_so_far - lag(units_so_far, 1, 0) OVER in_tier AS {QUANTITY}) AS units,
           CAST(list_units_so_far - lag(list_units_so_far, 1, 0) OVER in_tier AS {QUANTITY})
               AS list_units
    FROM running
    WINDOW in_tier AS (PARTITION BY charge_id, cell_no, from_quantity ORDER BY event_no)
)
SELECT event_no, CAST(sum(units * unit_amount + flat_amount) AS DECIMAL(38,25)) AS exact_amount,
       CAST(sum(list_units * unit_amount + list_flat_amount) AS DECIMAL(38,25)) AS list_amount
FROM difference GROUP BY event_no
"""

_ITEMISED = f"""
SELECT e.event_no, e.charge_id AS rated_charge_id, e.source, e.event_id, e.time, e.batch_id,
       e.line, e.attributes, e.quantity,
       CAST(p.quantity_after - p.quantity_before AS {QUANTITY}) AS billed_quantity,
       coalesce(a.exact_amount, 0) AS exact_amount, coalesce(a.list_amount, 0) AS list_amount
FROM event e JOIN position p ON p.position_id = e.event_no
LEFT JOIN event_amount a USING (event_no)
"""


def itemised_meters(source: EventSource, formulas: Formulas = NO_FORMULAS) -> tuple[Statement, ...]:
    """Make ``itemised``, one row per event, charge by charge in order of time.

    Needs ``price``, ``terms_tier``, what ``source`` reads, and a ``usage_epoch`` with
    one row per rated charge (item_id): the columns of core.rating.quantities.usage_epoch for items
    priced anew, and unit_rounding, price_id, epoch_start, epoch_end, cycle_days and first (the
    epoch is the item's first). With ``formulas``, once ``event`` is made, ``formula_input`` and
    ``charge_item`` of the events as well.
    """
    quantities = bool(formulas.at(QUANTITY_FORMULA))
    return (
        Statement("moved", _moved(source)),
        Statement("read_event", _READ),
        Statement("event_percentile", _PERCENTILE),
        Statement("event", _LISTED),
        Statement("price_epoch", _EPOCH),
        Statement("counted_position" if quantities else "position", _POSITION),
        *(formula_quantities(formulas, detailed=True, stood=True) if quantities else ()),
        *(formula_steps(formulas, detailed=True, stood=True) if formulas.placed else ()),
        *tier_steps(Tiers(detailed=True, stood=True, formulas=bool(formulas.placed))),
        Statement("event_amount", _AMOUNT),
        Statement("itemised", _ITEMISED),
    )
