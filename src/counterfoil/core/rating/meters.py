"""Meters that need more than a sum: each epoch's quantity as the meter read at its two ends.

An item ``anew`` is measured and priced as a whole whenever it is rated, and what was billed of it
before is taken off. What a meter reads at an instant is a function of the events before it: their
sum, their last one, their different values, the area below their curve, a rank among them. An epoch
is the stretch between the readings at its end and at its start, both taken by its own price: so
neither the order in which events come nor the parts they come in can matter.
"""

from collections.abc import Collection

from counterfoil.core.money.exact_sql import decimal15, half_up, raw
from counterfoil.core.rating.quantities import (
    EVENT_QUANTITY,
    EventSource,
    with_priced_units,
)
from counterfoil.core.rating.relations import QUANTITY, Statement

ALWAYS_ANEW = ("latest", "unique_count", "weighted_sum", "percentile")
"""Aggregations whose quantity is no sum over the epochs."""

_IN_CELLS = " OR charge_id IN (SELECT charge_id FROM price_cell)"


def priced_anew(charges: Collection[int] = (), *, cells: bool = True) -> str:
    """Whether a usage item is priced anew as a whole. Of ``charges`` whose price or quantity is a
    formula all are: what it reads may have changed since they were billed. ``cells``: some prices
    have cells."""
    listed = f" OR charge_id IN ({', '.join(map(str, sorted(charges)))})" if charges else ""
    return (
        f"NOT by_event AND (aggregation IN {ALWAYS_ANEW} OR carried_over "
        f"OR unit_rounding <> 'exact'{_IN_CELLS if cells else ''}{listed})"
    )


def anew_items(charges: Collection[int] = ()) -> Statement:
    """Makes ``anew_item``: item_id of the items that are ``priced_anew``, and whether their units
    cost the share of the days they stood."""
    return Statement(
        "anew_item",
        f"SELECT item_id, stood FROM charge_item WHERE kind = 'usage' AND {priced_anew(charges)}",
    )


SIGNED = f"CASE WHEN u.quantity > 0 THEN {EVENT_QUANTITY} ELSE u.quantity END"
"""Meter units an event adds to a level; one of negative quantity takes back."""

_IN_ORDER = "(u.time, u.source, u.event_id)"
LOCAL_DAY = "CAST(timezone(e.time_zone, u.time AT TIME ZONE 'UTC') AS DATE)"

# The rank is ceil(n * percentile / 100), in whole numbers.
_RANK = "(count(*) {filter} * any_value(e.percentile_milli) + 99999) // 100000"
_READINGS = {
    "sum": f"sum({SIGNED}) {{filter}}",
    "count": "count(*) {filter}",
    "max": "max(u.quantity) {filter}",
    "latest": f"arg_max(u.quantity, {_IN_ORDER}) {{filter}}",
    "percentile": f"list_sort(list(u.quantity) {{filter}})[{_RANK}]",
}
_BEFORE = "FILTER (u.time < e.epoch_at)"


def _reading(aggregation: str, source: EventSource) -> str:
    """SELECT of item_id, epoch_no, cell_no, events and the readings at the epoch's ends."""
    grouped = f"e.item_id, e.epoch_no, {source.cell_no} AS cell_no"
    chosen = (
        f"FROM {source.events_in_epochs} WHERE e.anew AND NOT e.stood "
        f"AND e.aggregation = '{aggregation}'"
    )
    if aggregation == "unique_count":
        return f"""
SELECT item_id, epoch_no, cell_no, sum(events) AS events,
       count(*) FILTER (there_after) AS read_after, count(*) FILTER (there_before) AS read_before
FROM (SELECT {grouped}, u.property, count(*) FILTER (u.time >= e.epoch_at) AS events,
             arg_max(u.quantity >= 0, {_IN_ORDER}) AS there_after,
             arg_max(u.quantity >= 0, {_IN_ORDER}) {_BEFORE} AS there_before
      {chosen} AND u.property IS NOT NULL GROUP BY ALL)
GROUP BY ALL"""
    if aggregation == "weighted_sum":
        return _weighted(grouped, chosen)
    after = _READINGS[aggregation].format(filter="")
    before = _READINGS[aggregation].format(filter=_BEFORE)
    return f"""
SELECT {grouped}, count(*) FILTER (u.time >= e.epoch_at) AS events,
       {after} AS read_after, {before} AS read_before
{chosen} GROUP BY ALL"""


def _weighted(grouped: str, chosen: str) -> str:
    """Each change times the microseconds it stood, divided by those of the cycle."""

    def area(end: str) -> str:
        stood = f"(epoch_us({end}) - epoch_us(greatest(u.time, e.first_at)))"
        return f"sum({raw('u.quantity', 15)} * {stood})"

    after, before = (decimal15(half_up(area, "cycle_us")) for area in ("area_after", "area_before"))
    return f"""
SELECT item_id, epoch_no, cell_no, events, {after} AS read_after, {before} AS read_before
FROM (SELECT {grouped}, count(*) FILTER (u.time >= e.epoch_at) AS events,
             any_value(CAST(e.cycle_us AS HUGEINT)) AS cycle_us,
             {area("e.end_at")} AS area_after, {area("e.epoch_at")} {_BEFORE} AS area_before
      {chosen} GROUP BY ALL)"""


# What is carried into a cycle is used in its first epoch like what comes in it.
_READ = f"""
SELECT item_id, epoch_no, cell_no, CAST(events AS BIGINT) AS events,
       CAST(coalesce(read_after, 0) AS {QUANTITY}) AS read_after,
       CAST(CASE WHEN epoch_no = 1 THEN 0 ELSE coalesce(read_before, 0) END AS {QUANTITY})
           AS read_before
FROM ({{readings}}) WHERE cell_no IS NOT NULL
"""

_UNREAD = """
SELECT e.item_id, e.epoch_no, 0, 0, 0, 0
FROM usage_epoch e WHERE e.anew AND NOT e.stood AND NOT e.matrix
 AND NOT EXISTS (SELECT 1 FROM reading m WHERE m.item_id = e.item_id AND m.epoch_no = e.epoch_no)
"""


def _priced_reading() -> str:
    units = "i.unit_size, i.unit_rounding"
    read = f"(SELECT * FROM reading UNION ALL {_UNREAD}) m JOIN charge_item i USING (item_id)"
    place = "m.item_id, m.epoch_no, m.cell_no"
    ends = (
        f"SELECT {place}, m.events, false AS early, m.read_after AS meter_units, {units} "
        f"FROM {read} UNION ALL "
        f"SELECT {place}, 0, true, m.read_before, {units} FROM {read}"
    )
    return with_priced_units(ends, rounding=True)


_ANEW_POSITION = f"""
WITH read AS (
    SELECT item_id, epoch_no, cell_no, CAST(sum(events) AS BIGINT) AS events,
           max(priced_units) FILTER (NOT early) AS quantity_after,
           max(priced_units) FILTER (early) AS quantity_before
    FROM ({_priced_reading()}) GROUP BY ALL
)
SELECT item_id, epoch_no, cell_no, events, quantity_after, quantity_before,
       epoch_no > 1 AND (quantity_before <> 0 OR row_number() OVER (
           PARTITION BY item_id, cell_no ORDER BY epoch_no) > 1) AS continues,
       events > 0 OR quantity_after <> quantity_before OR b.item_id IS NOT NULL AS used
FROM read LEFT JOIN (SELECT item_id, epoch_no FROM billed_epoch) b USING (item_id, epoch_no)
"""


def _stood_changes(aggregations: Collection[str], source: EventSource) -> str:
    """SELECT of item_id, epoch_no, cell_no, day, events, and by how much the level of that day's
    end differs from the day before; what was carried in comes on the first day."""
    grouped = f"e.item_id, e.epoch_no, {source.cell_no} AS cell_no"
    day = f"greatest({LOCAL_DAY}, e.first_day) AS day"
    events = "count(*) FILTER (u.time >= e.epoch_at) AS events"
    parts = []
    for aggregation in sorted(aggregations):
        chosen = f"FROM {source.events_in_epochs} WHERE e.stood AND e.aggregation = '{aggregation}'"
        if aggregation == "sum":
            parts.append(
                f"SELECT {grouped}, {day}, {events}, sum({SIGNED}) AS change {chosen} GROUP BY ALL"
            )
            continue
        level, apart = f"arg_max(u.quantity, {_IN_ORDER})", ""
        if aggregation == "unique_count":
            level = f"CAST(arg_max(u.quantity >= 0, {_IN_ORDER}) AS INTEGER)"
            apart, chosen = ", u.property", f"{chosen} AND u.property IS NOT NULL"
        within = apart.replace("u.", "")
        parts.append(f"""
SELECT item_id, epoch_no, cell_no, day, events, level - lag(level, 1, 0) OVER (
           PARTITION BY item_id, epoch_no, cell_no{within} ORDER BY day) AS change
FROM (SELECT {grouped}, {day}{apart}, {events}, {level} AS level {chosen} GROUP BY ALL)""")
    parts.append(
        "SELECT item_id, epoch_no, 0, first_day, 0, 0 FROM usage_epoch WHERE stood AND NOT matrix"
    )
    return " UNION ALL ".join(f"({part})" for part in parts)


_STOOD_LEVEL = f"""
SELECT c.*, i.unit_size, i.unit_rounding, CAST(sum(c.change) OVER (
           PARTITION BY c.item_id, c.epoch_no, c.cell_no ORDER BY c.day) AS {QUANTITY})
           AS meter_units
FROM (SELECT item_id, epoch_no, cell_no, day, sum(events) AS events, sum(change) AS change
      FROM stood_change WHERE cell_no IS NOT NULL GROUP BY ALL) c
JOIN charge_item i USING (item_id)
"""

# Days before the epoch only tell from where it starts. Flat amounts are due for the highest level
# there was, once: they have no days.
_STOOD_POSITION = f"""
WITH placed AS (
    SELECT l.*, e.epoch_start, e.epoch_end, i.cycle_end - i.cycle_start AS cycle_days,
           l.day >= e.epoch_start AS inside,
           lag(priced_units, 1, 0) OVER upto AS level_before,
           max(priced_units) OVER upto AS peak,
           max(priced_units) OVER (upto ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
               AS peak_before,
           last_value(priced_units) OVER (upto ROWS BETWEEN UNBOUNDED PRECEDING
               AND UNBOUNDED FOLLOWING) AS reach
    FROM ({with_priced_units(_STOOD_LEVEL, rounding=True)}) l
    JOIN price_epoch e USING (item_id, epoch_no)
    JOIN charge_item i USING (item_id)
    WINDOW upto AS (PARTITION BY l.item_id, l.epoch_no, l.cell_no ORDER BY l.day)
)
SELECT item_id, epoch_no, cell_no, CAST(events AS BIGINT) AS events,
       priced_units AS quantity_after, CAST(level_before AS {QUANTITY}) AS quantity_before,
       true AS continues, true AS used, CAST(reach AS {QUANTITY}) AS reach,
       CAST(epoch_end - greatest(day, epoch_start) AS BIGINT) AS share_days,
       CAST(cycle_days AS BIGINT) AS cycle_days,
       CAST(peak AS {QUANTITY}) AS peak_after,
       CAST(CASE WHEN inside THEN peak_before ELSE peak END AS {QUANTITY}) AS peak_before
FROM placed
"""


def anew_positions(
    aggregations: Collection[str], stood: Collection[str], source: EventSource
) -> tuple[Statement, ...]:
    """Make ``anew_position`` and, with ``stood``, ``stood_position``: the columns of ``position``.

    ``aggregations`` and ``stood`` are those of the items priced as a whole, and of those among
    them whose units cost the share of the days they stood.
    """
    statements = []
    if aggregations:
        readings = " UNION ALL ".join(
            f"({_reading(aggregation, source)})" for aggregation in sorted(aggregations)
        )
        statements += [
            Statement("reading", _READ.format(readings=readings)),
            Statement("anew_position", _ANEW_POSITION),
        ]
    if stood:
        statements += [
            Statement("stood_change", _stood_changes(stood, source)),
            Statement("stood_position", _STOOD_POSITION),
        ]
    return tuple(statements)
