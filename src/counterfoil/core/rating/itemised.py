"""Event by event: what each usage event added to its charge, for explanations.

The same tier statements as for a whole charge, run with one position per event.
"""

from counterfoil.core.rating.quantities import EVENT_COUNTS, EventSource, with_priced_units
from counterfoil.core.rating.relations import QUANTITY, Statement
from counterfoil.core.rating.tiers import Tiers, tier_steps

_RUNNING = f"""
WITH counted AS (
    SELECT e.item_id AS charge_id, u.*, {EVENT_COUNTS} AS counts, e.aggregation, e.unit_size,
           e.price_id, e.terms_id, e.quantity_before AS base, e.begun
    FROM {{events}}
)
SELECT *, row_number() OVER (ORDER BY charge_id, time, source, event_id) AS event_no,
       CAST(CASE WHEN aggregation = 'max' THEN max(quantity) OVER so_far
                 ELSE sum(counts) OVER so_far END AS {QUANTITY}) AS meter_units
FROM counted WINDOW so_far AS (
    PARTITION BY charge_id ORDER BY time, source, event_id)
"""

_EVENT = f"""
SELECT *, CAST(CASE WHEN aggregation = 'max' THEN greatest(base, priced_units)
                    ELSE base + priced_units END AS {QUANTITY}) AS quantity_after
FROM ({{running}})
"""

_POSITION = f"""
SELECT event_no AS position_id, event_no AS item_id, 1 AS epoch_no, 0 AS cell_no, 1 AS events,
       quantity_after,
       CAST(lag(quantity_after, 1, base) OVER in_charge AS {QUANTITY}) AS quantity_before,
       row_number() OVER in_charge > 1 OR begun AS continues, true AS used
FROM event WINDOW in_charge AS (PARTITION BY charge_id ORDER BY event_no)
"""

_EPOCH = "SELECT event_no AS item_id, 1 AS epoch_no, price_id, terms_id FROM event"

_ITEMISED = f"""
SELECT e.event_no, e.charge_id AS rated_charge_id, e.source, e.event_id, e.time, e.batch_id,
       e.line, e.attributes, e.quantity,
       CAST(p.quantity_after - p.quantity_before AS {QUANTITY}) AS billed_quantity,
       c.gross AS exact_amount, coalesce(c.list_gross, c.gross) AS list_amount
FROM event e
JOIN position p ON p.position_id = e.event_no
JOIN priced c ON c.position_id = e.event_no
"""


def itemised(source: EventSource) -> tuple[Statement, ...]:
    """Make ``itemised``, one row per event, charge by charge in order of time.

    Needs what ``source`` reads (``usage`` as EVENT says), ``price``, ``terms_tier`` and a
    ``usage_epoch`` with one row per rated charge (item_id) that
    also has aggregation, unit_size, price_id, terms_id, quantity_before and begun (something of
    the cycle was priced before).
    """
    running = with_priced_units(_RUNNING.format(events=source.events_in_epochs))
    return (
        Statement("event", _EVENT.format(running=running)),
        Statement("position", _POSITION),
        Statement("price_epoch", _EPOCH),
        *tier_steps(Tiers()),
        Statement("itemised", _ITEMISED),
    )
