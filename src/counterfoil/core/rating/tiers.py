"""Tier by tier: what a stretch of a cycle's quantity costs, as the difference of two positions.

The price of a quantity Q is a function G(Q) of the cycle's total; a stretch from ``before`` to
``after`` costs G(after) - G(before). So late usage, price changes and single events always add up
to what the whole would have cost.
"""

from counterfoil.core.rating.exact import raw
from counterfoil.core.rating.relations import PRODUCT, QUANTITY, Statement

_SIDE = f"""
WITH position_price AS (
    SELECT p.*, e.price_id, r.model, r.included_quantity, r.package_size
    FROM position p
    JOIN price_epoch e USING (item_id, epoch_no)
    JOIN price r ON r.price_id = e.price_id
), side AS (
    SELECT item_id, epoch_no, price_id, model, package_size, 1 AS sign, 'billed' AS measure,
           greatest(quantity_after - included_quantity, 0) AS units FROM position_price
    UNION ALL
    SELECT item_id, epoch_no, price_id, model, package_size, -1, 'billed',
           greatest(quantity_before - included_quantity, 0) FROM position_price WHERE continues
    UNION ALL
    SELECT item_id, epoch_no, price_id, model, package_size, 1, 'list',
           greatest(quantity_after, 0) FROM position_price WHERE included_quantity > 0
    UNION ALL
    SELECT item_id, epoch_no, price_id, model, package_size, -1, 'list',
           greatest(quantity_before, 0) FROM position_price
           WHERE included_quantity > 0 AND continues
)
SELECT item_id, epoch_no, price_id, model, sign, measure,
       CASE WHEN package_size IS NULL THEN CAST(units AS {QUANTITY})
            ELSE CAST({raw("units - units % package_size", 15)} // {raw("package_size", 15)}
                 + CASE WHEN units % package_size = 0 THEN 0 ELSE 1 END AS {QUANTITY}) END AS units
FROM side
"""

_STEP = f"""
WITH part AS (
    SELECT s.item_id, s.epoch_no, s.measure, s.sign, t.from_quantity, t.up_to,
           t.unit_amount, t.flat_amount,
           CASE WHEN s.model = 'flat' THEN 0
                WHEN s.model = 'volume' THEN s.units
                ELSE least(s.units, coalesce(t.up_to, s.units)) - t.from_quantity END AS units
    FROM tier_side s
    JOIN price_tier t ON t.price_id = s.price_id
     AND (t.from_quantity = 0 OR s.units > t.from_quantity)
     AND (s.model <> 'volume' OR t.up_to IS NULL OR s.units <= t.up_to)
)
SELECT item_id, epoch_no, measure, from_quantity, up_to, unit_amount, flat_amount,
       CAST(sum(sign * units) AS {QUANTITY}) AS units,
       sum(sign) AS flats,
       CAST(sum(sign * units) AS {QUANTITY}) * unit_amount
         + CAST(sum(sign) AS DECIMAL(4,0)) * flat_amount AS amount
FROM part
GROUP BY item_id, epoch_no, measure, from_quantity, up_to, unit_amount, flat_amount
"""


_PRICED = f"""
SELECT item_id, epoch_no,
       CAST(sum(amount) FILTER (measure = 'billed') AS {PRODUCT}) AS gross,
       CAST(sum(amount) FILTER (measure = 'list') AS {PRODUCT}) AS list_gross,
       count(*) FILTER (measure = 'billed' AND units <> 0) AS unit_amounts,
       bool_or(measure = 'billed' AND flats <> 0 AND flat_amount <> 0) AS has_flat,
       max(unit_amount) FILTER (measure = 'billed' AND units <> 0) AS unit_amount,
       list_sort(list(struct_pack(
           "from" := from_quantity, up_to := up_to, quantity := units,
           unit_amount := unit_amount, flat_amount := CAST(flats AS DECIMAL(4,0)) * flat_amount,
           amount := amount)) FILTER (measure = 'billed' AND (units <> 0 OR flats <> 0))) AS steps
FROM tier_step
GROUP BY item_id, epoch_no
"""

# A price whose tiers leave out a range, or end, is one that somebody has not finished.
_UNCOVERED = """
WITH reach AS (
    SELECT price_id, max(up_to) AS up_to, bool_or(up_to IS NULL) AS open,
           min(from_quantity) = 0 AND sum(coalesce(up_to, from_quantity) - from_quantity)
               = max(coalesce(up_to, from_quantity)) AS gapless
    FROM price_tier GROUP BY price_id
)
SELECT s.item_id, s.epoch_no, s.price_id, max(s.units) AS units
FROM tier_side s LEFT JOIN reach r ON r.price_id = s.price_id
WHERE r.price_id IS NULL
   OR s.model <> 'flat' AND (NOT r.gapless OR NOT r.open AND s.units > r.up_to)
GROUP BY s.item_id, s.epoch_no, s.price_id
"""

UNCOVERED = Statement("uncovered", _UNCOVERED)
"""After ``TIER_STEPS``: item_id, epoch_no, price_id, units of the positions that no tier of their
price covers, in full or in part. What was priced for them is not to be used."""

TIER_STEPS = (
    Statement("tier_side", _SIDE),
    Statement("tier_step", _STEP),
    Statement("priced", _PRICED),
)
"""Make ``priced``: item_id, epoch_no, gross and list_gross DECIMAL(38,25) (list_gross null where
nothing is included), unit_amounts BIGINT, has_flat BOOLEAN, unit_amount, steps (list of
structs: from, up_to, quantity, unit_amount, flat_amount, amount; in order of the tiers)."""
