"""Tier by tier: what a stretch of a cycle's quantity costs, as the difference of two positions.

The price of a quantity Q is a function G(Q) of the cycle's total; a stretch from ``before`` to
``after`` costs G(after) - G(before). So late usage, price changes and single events always add up
to what the whole would have cost.
"""

from counterfoil.core.money.exact_sql import raw
from counterfoil.core.rating.relations import PRODUCT, QUANTITY, Statement


def _packages(units: str) -> str:
    """Started packages of so many units, or the units themselves where nothing is packed."""
    whole = f"{raw(f'{units} - {units} % package_size', 15)} // {raw('package_size', 15)}"
    started = f"CASE WHEN {units} % package_size = 0 THEN 0 ELSE 1 END"
    return (
        f"CASE WHEN package_size IS NULL THEN {units} "
        f"ELSE CAST({whole} + {started} AS {QUANTITY}) END"
    )


# The four positions that matter: where the stretch ends and begins, with what is included taken
# off (billed) and without (list; only where something is included). Nothing begins at null.
_POSITION = f"""
WITH taken_off AS (
    SELECT p.position_id, p.item_id, p.epoch_no, p.cell_no, e.terms_id, e.price_id, r.model,
           r.package_size,
           CAST(greatest(p.quantity_after - r.included_quantity, 0) AS {QUANTITY}) AS after_units,
           CAST(CASE WHEN p.continues THEN greatest(p.quantity_before - r.included_quantity, 0)
                END AS {QUANTITY}) AS before_units,
           CAST(CASE WHEN r.included_quantity > 0 THEN greatest(p.quantity_after, 0)
                END AS {QUANTITY}) AS list_after_units,
           CAST(CASE WHEN r.included_quantity > 0 AND p.continues
                THEN greatest(p.quantity_before, 0) END AS {QUANTITY}) AS list_before_units
    FROM position p
    JOIN price_epoch e USING (item_id, epoch_no)
    JOIN price r ON r.price_id = e.price_id
    LEFT JOIN terms_tier f ON f.terms_id = e.terms_id AND f.cell_no = p.cell_no
     AND f.from_quantity = 0
    WHERE p.used OR NOT p.continues AND f.flat_amount <> 0
)
SELECT position_id, item_id, epoch_no, cell_no, terms_id, price_id, model,
       {_packages("after_units")} AS after_units,
       {_packages("before_units")} AS before_units,
       {_packages("list_after_units")} AS list_after_units,
       {_packages("list_before_units")} AS list_before_units
FROM taken_off
"""


def _reached(units: str) -> str:
    """Whether the tier counts when a cycle has come to so many units; null for null."""
    return (
        f"((t.from_quantity = 0 OR {units} > t.from_quantity) AND ({units} IS NOT NULL) "
        f"AND (p.model <> 'volume' OR t.up_to IS NULL OR {units} <= t.up_to))"
    )


def _within(units: str) -> str:
    """How many of a cycle's units the tier prices."""
    return (
        f"CASE WHEN p.model = 'flat' OR NOT {_reached(units)} THEN CAST(0 AS {QUANTITY}) "
        f"WHEN p.model = 'volume' THEN {units} "
        f"ELSE CAST(least({units}, coalesce(t.up_to, {units})) - t.from_quantity AS {QUANTITY}) END"
    )


def _difference(after: str, before: str) -> tuple[str, str]:
    """Units and flat amounts of a tier between two positions."""
    units = f"CAST({_within(after)} - {_within(before)} AS {QUANTITY})"
    flats = f"CAST({_reached(after)} AS INTEGER) - CAST({_reached(before)} AS INTEGER)"
    return units, flats


_UNITS, _FLATS = _difference("p.after_units", "p.before_units")
_LIST_UNITS, _LIST_FLATS = _difference("p.list_after_units", "p.list_before_units")

_STEP = f"""
WITH counted AS (
    SELECT p.position_id, t.from_quantity, t.up_to, t.unit_amount, t.flat_amount,
           {_UNITS} AS units, {_FLATS} AS flats,
           CASE WHEN p.list_after_units IS NOT NULL THEN {_LIST_UNITS} END AS list_units,
           CASE WHEN p.list_after_units IS NOT NULL THEN {_LIST_FLATS} END AS list_flats
    FROM tier_position p JOIN terms_tier t ON t.terms_id = p.terms_id AND t.cell_no = p.cell_no
)
SELECT position_id, from_quantity, up_to, unit_amount, units, flats,
       CAST(flats AS DECIMAL(4,0)) * flat_amount AS flat_amount,
       units * unit_amount + CAST(flats AS DECIMAL(4,0)) * flat_amount AS amount,
       list_units * unit_amount + CAST(list_flats AS DECIMAL(4,0)) * flat_amount AS list_amount
FROM counted
"""

_PRICED = f"""
SELECT position_id, CAST(sum(amount) AS {PRODUCT}) AS gross,
       CAST(sum(list_amount) AS {PRODUCT}) AS list_gross,
       count(*) FILTER (units <> 0) AS unit_amounts,
       bool_or(flat_amount <> 0) AS has_flat,
       max(unit_amount) FILTER (units <> 0) AS unit_amount,
       list_sort(list(struct_pack(
           "from" := from_quantity, up_to := up_to, quantity := units,
           unit_amount := unit_amount, flat_amount := flat_amount,
           amount := amount)) FILTER (units <> 0 OR flats <> 0)) AS steps
FROM tier_step
GROUP BY position_id
"""

# A price whose tiers leave out a range, or end, is one that somebody has not finished.
_UNCOVERED = """
WITH reach AS (
    SELECT terms_id, cell_no, max(up_to) AS up_to, bool_or(up_to IS NULL) AS open,
           min(from_quantity) = 0 AND sum(coalesce(up_to, from_quantity) - from_quantity)
               = max(coalesce(up_to, from_quantity)) AS gapless
    FROM terms_tier GROUP BY terms_id, cell_no
), farthest AS (
    SELECT item_id, epoch_no, cell_no, terms_id, price_id, model,
           greatest(after_units, before_units, list_after_units, list_before_units) AS units
    FROM tier_position
)
SELECT f.item_id, f.epoch_no, f.price_id, f.units
FROM farthest f LEFT JOIN reach r ON r.terms_id = f.terms_id AND r.cell_no = f.cell_no
WHERE r.terms_id IS NULL
   OR f.model <> 'flat' AND (NOT r.gapless OR NOT r.open AND f.units > r.up_to)
"""

UNCOVERED = Statement("uncovered", _UNCOVERED)
"""After ``TIER_STEPS``: item_id, epoch_no, price_id, units of the positions that no tier of their
price covers, in full or in part. What was priced for them is not to be used."""

TIER_STEPS = (
    Statement("tier_position", _POSITION),
    Statement("tier_step", _STEP),
    Statement("priced", _PRICED),
)
"""Make ``priced``: position_id, gross and list_gross DECIMAL(38,25) (list_gross null where
nothing is included), unit_amounts BIGINT, has_flat BOOLEAN, unit_amount, steps (list of
structs: from, up_to, quantity, unit_amount, flat_amount, amount; in order of the tiers)."""
