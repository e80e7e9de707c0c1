"""What single events cost besides their quantity: an amount per event, a least and a most.

An event of which everything is included, and each of the first ``free_events`` of a cycle, costs
nothing at all. Amounts per event belong to prices by the unit (core.rating.tiers: of packages and
bands an event has no share of its own).
"""

from counterfoil.core.rating.relations import PRODUCT, Statement

_EVENT_AMOUNT = f"""
WITH charged AS (
    SELECT p.position_id, p.item_id, p.epoch_no, c.gross, c.gross + r.event_amount AS amount,
           r.event_amount_minimum AS least_amount, r.event_amount_maximum AS most_amount
    FROM position p
    JOIN priced c USING (position_id)
    JOIN tier_position t USING (position_id)
    JOIN price r ON r.price_id = t.price_id
    WHERE p.event_no IS NOT NULL AND NOT p.free
      AND (t.after_units <> coalesce(t.before_units, 0) OR p.list_after = p.list_before)
      AND (r.event_amount <> 0 OR r.event_amount_minimum IS NOT NULL
           OR r.event_amount_maximum IS NOT NULL)
), bounded AS (
    SELECT *, CASE WHEN amount < least_amount THEN least_amount
                   WHEN amount > most_amount THEN most_amount ELSE amount END AS bound
    FROM charged
)
SELECT position_id, item_id, epoch_no, CAST(bound - gross AS {PRODUCT}) AS amount FROM bounded
WHERE bound <> gross
"""

EVENT_AMOUNTS = Statement("event_amount", _EVENT_AMOUNT)
"""Make ``event_amount``: position_id, item_id, epoch_no, amount: what is added to (or taken off)
what the tiers make of an event."""

EVENT_AMOUNT_STEP = """
UNION ALL BY NAME
SELECT item_id, epoch_no, NULL::DECIMAL(28,6) AS from_quantity, NULL::DECIMAL(28,6) AS up_to,
       0 AS unit_amount, false AS stood, 0 AS units, 1 AS flats, sum(amount) AS flat_amount,
       sum(amount) AS amount, sum(amount) AS list_amount
FROM event_amount GROUP BY item_id, epoch_no
"""
"""What ``event_amount`` comes to, as a step of its own, of no tier (core.rating.charges)."""
