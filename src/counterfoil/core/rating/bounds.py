"""The least and most a charge costs in a cycle, whatever was used.

Both are for a full cycle and are prorated with the days served. They look at the whole cycle: what
comes after a first billing of it is measured together with what was billed before.
"""

from counterfoil.core.money.exact_sql import half_up, minor_units, power_of_ten, raw
from counterfoil.core.rating.relations import Statement


def _prorated(day_sum: str) -> str:
    """An amount in minor units of a sum of amounts (counting 10**-4) times days."""
    full = f"(cycle_days * {power_of_ten('minor_digits', 4)})"
    return minor_units(half_up(day_sum, full), "minor_digits")


_BOUND = f"""
WITH epoch AS (
    SELECT i.item_id, i.minor_digits, CAST(i.cycle_end - i.cycle_start AS BIGINT) AS cycle_days,
           CAST(CASE WHEN i.kind = 'usage' OR i.prorated THEN e.epoch_end - e.epoch_start
                     ELSE i.cycle_end - i.cycle_start END AS BIGINT) AS days,
           p.minimum_amount, p.maximum_amount
    FROM charge_item i JOIN price_epoch e USING (item_id) JOIN price p ON p.price_id = e.price_id
), bounded AS (
    SELECT item_id, minor_digits, cycle_days,
           sum({raw("minimum_amount", 4)} * days) AS least_days,
           CASE WHEN count(maximum_amount) = count(*)
                THEN sum({raw("maximum_amount", 4)} * days) END AS most_days
    FROM epoch GROUP BY item_id, minor_digits, cycle_days
)
SELECT item_id, {_prorated("least_days")} AS minimum, {_prorated("most_days")} AS maximum
FROM bounded WHERE least_days IS NOT NULL OR most_days IS NOT NULL
"""

_BOUNDED = """
WITH cost AS (
    SELECT item_id, sum(amount) AS amount FROM (
        SELECT item_id, amount FROM rated UNION ALL SELECT item_id, amount FROM billed_usage)
    GROUP BY item_id
), target AS (
    SELECT b.item_id, b.minimum, b.maximum, coalesce(c.amount, 0) AS cost,
           greatest(coalesce(b.minimum, 0) - coalesce(c.amount, 0), 0) AS lifted
    FROM bound b LEFT JOIN cost c USING (item_id)
), wanted AS (
    SELECT *, 'minimum' AS kind, lifted AS amount, minimum AS bound FROM target
    UNION ALL
    SELECT *, 'maximum', least(coalesce(maximum, cost + lifted) - cost - lifted, 0), maximum
    FROM target
)
SELECT w.item_id, w.kind, CAST(w.bound AS DECIMAL(20,4)) AS bound,
       CAST(w.cost AS DECIMAL(20,4)) AS cost,
       CAST(w.amount - coalesce(b.amount, 0) AS DECIMAL(20,4)) AS amount
FROM wanted w LEFT JOIN billed_bound b ON b.item_id = w.item_id AND b.kind = w.kind
WHERE w.amount <> coalesce(b.amount, 0)
"""

BOUNDS: tuple[Statement, ...] = (Statement("bound", _BOUND), Statement("bounded", _BOUNDED))
"""Need ``rated``, ``billed_usage``, prices with minimum_amount and maximum_amount DECIMAL(20,4),
and ``billed_bound``: item_id, kind (minimum or maximum), amount billed before of the same cycle.

Make ``bounded``: item_id, kind, bound (for the days served), cost (what the whole cycle costs
without bounds), amount DECIMAL(20,4): what is billed now, or given back, to keep the bound."""
