"""From usage events to priced quantities, and where in the cycle's tiers they stand."""

from counterfoil.core.money.exact_sql import decimal15, half_up, raw
from counterfoil.core.rating.relations import QUANTITY, SMALLEST_QUANTITY, Statement

# Without a minimum it is nothing, without an increment the smallest quantity there is: so that
# the arithmetic per event needs no branches, which is what makes it fast.
_USAGE_EPOCH = f"""
SELECT e.item_id, e.epoch_no, 0 AS cell_no, i.subscription_id, i.meter_id, i.by_event, i.pool_id,
       i.aggregation, i.unit_size,
       coalesce(i.event_minimum, 0::{QUANTITY}) AS event_minimum,
       coalesce(i.event_increment, {SMALLEST_QUANTITY}::{QUANTITY}) AS event_increment,
       a.instant AS start_at, b.instant AS end_at
FROM price_epoch e
JOIN charge_item i USING (item_id)
JOIN midnight a ON a.time_zone = i.time_zone AND a.day = e.epoch_start
JOIN midnight b ON b.time_zone = i.time_zone AND b.day = e.epoch_end
WHERE i.kind = 'usage'
"""

_AT_LEAST = "greatest(u.quantity, e.event_minimum)"
EVENT_QUANTITY = (
    f"{_AT_LEAST} + e.event_increment"
    f" - coalesce(nullif({_AT_LEAST} % e.event_increment, 0), e.event_increment)"
)
"""Meter units an event of positive quantity counts for: at least the minimum, rounded up to the
increment. An event of quantity zero counts for nothing."""

EVENT_COUNTS = f"""CASE WHEN e.aggregation = 'count' THEN 1::{QUANTITY}
                     WHEN u.quantity > 0 THEN {EVENT_QUANTITY} ELSE 0::{QUANTITY} END"""
"""Meter units an event adds to a sum or count."""


def events_in_epochs() -> str:
    """A FROM clause: every usage event ``u`` beside each item epoch ``e`` it counts in.

    ``e`` is a row of ``usage_epoch``: item_id, epoch_no, cell_no (the cell of the price the event
    falls into), event_minimum, event_increment, start_at, end_at, and of the item by_event,
    pool_id, aggregation and unit_size.
    """
    return """usage u JOIN usage_epoch e
  ON u.subscription_id = e.subscription_id AND u.meter_id = e.meter_id
 AND u.time >= e.start_at AND u.time < e.end_at
"""


_METERED = f"""
SELECT e.item_id, e.epoch_no, count(*) AS events,
       CAST(sum({EVENT_QUANTITY}) FILTER (u.quantity > 0) AS {QUANTITY}) AS summed,
       max(u.quantity) AS highest
FROM {events_in_epochs()}
WHERE NOT e.by_event
GROUP BY e.item_id, e.epoch_no
"""


def with_priced_units(source: str) -> str:
    """The rows of ``source`` (a subquery with meter_units DECIMAL(38,15) and unit_size BIGINT) and
    beside them priced_units DECIMAL(38,15): their quotient, rounded half-up to 15 decimals."""
    counted = f"SELECT *, {raw('meter_units', 15)} AS raw_units FROM ({source})"
    divided = (
        f"SELECT *, {half_up('raw_units', 'unit_size::HUGEINT')} AS raw_priced FROM ({counted})"
    )
    return (
        f"SELECT * EXCLUDE (raw_units, raw_priced), CASE WHEN unit_size = 1 THEN meter_units "
        f"ELSE {decimal15('raw_priced')} END AS priced_units FROM ({divided})"
    )


_METER_UNITS = f"""
SELECT e.item_id, e.epoch_no, e.epoch_start, e.epoch_end, coalesce(m.events, 0) AS events,
       i.aggregation, i.kind, i.quantity, i.unit_size,
       CAST(coalesce(CASE i.aggregation WHEN 'max' THEN m.highest WHEN 'count' THEN m.events
                                        ELSE m.summed END, 0) AS {QUANTITY}) AS meter_units
FROM price_epoch e
JOIN charge_item i USING (item_id)
LEFT JOIN metered m USING (item_id, epoch_no)
WHERE NOT i.by_event
"""

# What an epoch was billed for is what was billed between its start and the next epoch's.
_BILLED_EPOCH = """
SELECT e.item_id, e.epoch_no, sum(b.quantity) AS quantity, sum(b.exact_amount) AS exact_amount,
       sum(b.list_amount) AS list_amount, sum(b.amount) AS amount
FROM price_epoch e
JOIN billed_usage b ON b.item_id = e.item_id
 AND b.service_start >= e.epoch_start AND b.service_start < e.epoch_end
GROUP BY e.item_id, e.epoch_no
"""

# Late units stand behind everything the cycle has been billed for.
_POSITION = f"""
WITH counted AS (
    SELECT u.item_id, u.epoch_no, u.events, u.aggregation, u.kind,
           CASE WHEN u.kind = 'usage' THEN u.priced_units
                ELSE CAST(u.quantity AS {QUANTITY}) END AS units,
           coalesce(b.quantity, 0) AS billed
    FROM ({with_priced_units(_METER_UNITS)}) u
    LEFT JOIN billed_epoch b USING (item_id, epoch_no)
), running AS (
    SELECT c.*, coalesce(b.total, 0) AS start, b.total IS NOT NULL AS late,
           CAST(sum(CASE WHEN c.aggregation = 'max' THEN 0 ELSE units - billed END)
                OVER upto AS {QUANTITY}) AS grown,
           max(units) OVER upto AS peak
    FROM counted c
    LEFT JOIN (SELECT item_id, sum(quantity) AS total FROM billed_usage GROUP BY item_id) b
        USING (item_id)
    WINDOW upto AS (PARTITION BY c.item_id ORDER BY c.epoch_no)
), placed AS (
    SELECT *, CAST(CASE WHEN kind <> 'usage' THEN units
                        WHEN aggregation = 'max' THEN greatest(start, peak)
                        ELSE start + grown END AS {QUANTITY}) AS quantity_after
    FROM running
)
SELECT p.item_id, p.epoch_no, 0 AS cell_no, p.events,
       p.quantity_after,
       CASE WHEN p.kind = 'usage'
            THEN CAST(lag(p.quantity_after, 1, p.start) OVER (PARTITION BY p.item_id
                      ORDER BY p.epoch_no) AS {QUANTITY})
            ELSE CAST(0 AS {QUANTITY}) END AS quantity_before,
       p.kind = 'usage' AND (p.late OR p.epoch_no > 1) AS continues,
       p.kind <> 'usage' OR p.events > 0 OR p.late AS used
FROM placed p
"""

_BY_EVENT = """
SELECT item_id, epoch_no, cell_no, events, quantity_after, quantity_before, continues, used,
       NULL::BIGINT AS event_no, NULL AS list_before, NULL AS list_after, NULL AS reach,
       NULL AS list_reach
FROM ({aggregated})
UNION ALL BY NAME
SELECT * FROM event_position
"""

METERED: tuple[Statement, ...] = (
    Statement("usage_epoch", _USAGE_EPOCH),
    Statement("metered", _METERED),
    Statement("billed_epoch", _BILLED_EPOCH),
)
"""Make ``usage_epoch`` (the stretches of time whose events are counted), ``metered`` (what each
came to) and ``billed_epoch``: item_id, epoch_no, quantity, exact_amount, list_amount, amount."""


def position(*, by_event: bool) -> Statement:
    """Makes ``position``: position_id, item_id, epoch_no, cell_no, events BIGINT, quantity_before
    and quantity_after DECIMAL(38,15) in priced units of the cycle, continues BOOLEAN (something of
    the cycle was priced before, so the first tier's flat amount is not due again), used BOOLEAN
    (there may be something to price; else only a flat amount can be due).

    With ``by_event`` also the positions of ``event_position`` and its further columns, null for
    the others.
    """
    source = _BY_EVENT.format(aggregated=_POSITION) if by_event else _POSITION
    return Statement("position", f"SELECT row_number() OVER () AS position_id, * FROM ({source})")
