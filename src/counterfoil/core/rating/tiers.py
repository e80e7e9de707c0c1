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


def _tier_position(*, by_event: bool) -> Statement:
    """The positions that matter: where the stretch ends and begins, with what is included taken
    off (billed) and without (list; only where something is included); nothing begins at null. In a
    pool also what the whole comes to, by which a volume price finds its band."""
    listed = "r.included_quantity > 0"
    if by_event:
        listed = "(r.included_quantity > 0 OR p.list_after IS NOT NULL)"
    after, before = (
        f"coalesce(p.list_{end}, p.quantity_{end})" if by_event else f"p.quantity_{end}"
        for end in ("after", "before")
    )
    columns = {
        "after_units": "greatest(p.quantity_after - r.included_quantity, 0)",
        "before_units": "CASE WHEN p.continues "
        "THEN greatest(p.quantity_before - r.included_quantity, 0) END",
        "list_after_units": f"CASE WHEN {listed} THEN greatest({after}, 0) END",
        "list_before_units": f"CASE WHEN {listed} AND p.continues THEN greatest({before}, 0) END",
    }
    if by_event:
        # ``greatest`` would make a reach of zero where there is no pool.
        columns["reach"] = (
            "CASE WHEN p.reach IS NOT NULL THEN greatest(p.reach - r.included_quantity, 0) END"
        )
        columns["list_reach"] = (
            "CASE WHEN p.list_reach IS NOT NULL THEN greatest(p.list_reach, 0) END"
        )
    taken_off = ", ".join(f"CAST({sql} AS {QUANTITY}) AS {name}" for name, sql in columns.items())
    packed = ", ".join(f"{_packages(name)} AS {name}" for name in columns)
    sql = f"""
WITH taken_off AS (
    SELECT p.position_id, p.item_id, p.epoch_no, p.cell_no, e.terms_id, e.price_id, r.model,
           r.package_size, {taken_off}
    FROM position p
    JOIN price_epoch e USING (item_id, epoch_no)
    JOIN price r ON r.price_id = e.price_id
    LEFT JOIN terms_tier f ON f.terms_id = e.terms_id AND f.cell_no = p.cell_no
     AND f.from_quantity = 0
    WHERE p.used OR NOT p.continues AND f.flat_amount <> 0
)
SELECT position_id, item_id, epoch_no, cell_no, terms_id, price_id, model, {packed}
FROM taken_off
"""
    return Statement("tier_position", sql)


def _reached(units: str, reach: str) -> str:
    """Whether the tier counts when a cycle has come to so many units; null for null. The band of a
    volume price is the one that ``reach`` lies in."""
    return (
        f"(({units} IS NOT NULL) AND CASE WHEN p.model = 'volume' "
        f"THEN (t.from_quantity = 0 OR {reach} > t.from_quantity) "
        f"AND (t.up_to IS NULL OR {reach} <= t.up_to) "
        f"ELSE t.from_quantity = 0 OR {units} > t.from_quantity END)"
    )


def _within(units: str, reach: str) -> str:
    """How many of a cycle's units the tier prices."""
    return (
        f"CASE WHEN p.model = 'flat' OR NOT {_reached(units, reach)} THEN CAST(0 AS {QUANTITY}) "
        f"WHEN p.model = 'volume' THEN {units} "
        f"ELSE CAST(least({units}, coalesce(t.up_to, {units})) - t.from_quantity AS {QUANTITY}) END"
    )


def _difference(prefix: str, *, by_event: bool) -> tuple[str, str]:
    """Units and flat amounts of a tier between two positions."""
    after, before = f"p.{prefix}after_units", f"p.{prefix}before_units"
    if by_event:
        ends = [(end, f"coalesce(p.{prefix}reach, {end})") for end in (after, before)]
    else:
        ends = [(end, end) for end in (after, before)]
    within, reached = ([made(*end) for end in ends] for made in (_within, _reached))
    units = f"CAST({within[0]} - {within[1]} AS {QUANTITY})"
    return units, f"CAST({reached[0]} AS INTEGER) - CAST({reached[1]} AS INTEGER)"


def _tier_step(*, by_event: bool, formulas: bool) -> Statement:
    units, flats = _difference("", by_event=by_event)
    list_units, list_flats = _difference("list_", by_event=by_event)
    sql = f"""
WITH counted AS (
    SELECT p.position_id, t.from_quantity, t.up_to, t.unit_amount, t.flat_amount,
           {units} AS units, {flats} AS flats,
           CASE WHEN p.list_after_units IS NOT NULL THEN {list_units} END AS list_units,
           CASE WHEN p.list_after_units IS NOT NULL THEN {list_flats} END AS list_flats
    FROM tier_position p JOIN terms_tier t ON t.terms_id = p.terms_id AND t.cell_no = p.cell_no
)
SELECT position_id, from_quantity, up_to, unit_amount, units, flats,
       CAST(flats AS DECIMAL(4,0)) * flat_amount AS flat_amount,
       units * unit_amount + CAST(flats AS DECIMAL(4,0)) * flat_amount AS amount,
       list_units * unit_amount + CAST(list_flats AS DECIMAL(4,0)) * flat_amount AS list_amount
FROM counted
"""
    if formulas:
        sql += "UNION ALL BY NAME SELECT * FROM formula_step"
    return Statement("tier_step", sql)


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
WHERE f.model <> 'formula' AND (r.terms_id IS NULL
   OR f.model <> 'flat' AND (NOT r.gapless OR NOT r.open AND f.units > r.up_to))
"""

UNCOVERED = Statement("uncovered", _UNCOVERED)
"""After ``tier_steps``: item_id, epoch_no, price_id, units of the positions that no tier of their
price covers, in full or in part. What was priced for them is not to be used."""


def tier_steps(*, by_event: bool, formulas: bool = False) -> tuple[Statement, ...]:
    """Make ``priced``: position_id, gross and list_gross DECIMAL(38,25) (list_gross null where
    nothing is included), unit_amounts BIGINT, has_flat BOOLEAN, unit_amount, steps (list of
    structs: from, up_to, quantity, unit_amount, flat_amount, amount; in order of the tiers).

    With ``formulas`` what is in ``formula_step`` counts as tiers too.
    """
    return (
        _tier_position(by_event=by_event),
        _tier_step(by_event=by_event, formulas=formulas),
        Statement("priced", _PRICED),
    )
