"""Tier by tier: what a stretch of a cycle's quantity costs, as the difference of two positions.

The price of a quantity Q is a function G(Q) of the cycle's total; a stretch from ``before`` to
``after`` costs G(after) - G(before). So late usage, price changes and single events always add up
to what the whole would have cost.
"""

from collections.abc import Callable, Sequence

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


def _at_least_nothing(given: str, units: str) -> str:
    return f"CASE WHEN {given} IS NOT NULL THEN greatest({units}, 0) END"


def _tier_position(*, detailed: bool, stood: bool, packages: bool) -> Statement:
    """The positions that matter: where the stretch ends and begins, with what is included taken
    off (billed) and without (list; only where something is included); nothing begins at null. In a
    pool also what the whole comes to, by which a volume price finds its band; of what stood some
    days only, the highest levels before and after, between which flat amounts become due."""
    listed = "r.included_quantity > 0"
    if detailed:
        listed = "(r.included_quantity > 0 OR p.list_after IS NOT NULL)"
    after, before = (
        f"coalesce(p.list_{end}, p.quantity_{end})" if detailed else f"p.quantity_{end}"
        for end in ("after", "before")
    )
    columns = {
        "after_units": "greatest(p.quantity_after - r.included_quantity, 0)",
        "before_units": "CASE WHEN p.continues "
        "THEN greatest(p.quantity_before - r.included_quantity, 0) END",
        "list_after_units": f"CASE WHEN {listed} THEN greatest({after}, 0) END",
        "list_before_units": f"CASE WHEN {listed} AND p.continues THEN greatest({before}, 0) END",
    }
    # The greatest of nothing and 0 is 0, so what may be nothing has to be asked.
    if detailed:
        columns["reach"] = _at_least_nothing("p.reach", "p.reach - r.included_quantity")
        columns["list_reach"] = _at_least_nothing("p.list_reach", "p.list_reach")
    if stood:
        for end in ("after", "before"):
            peak = f"p.peak_{end}"
            columns[f"peak_{end}"] = _at_least_nothing(peak, f"{peak} - r.included_quantity")
            columns[f"list_peak_{end}"] = _at_least_nothing(peak, peak)
    share = ", share_days, cycle_days" if stood else ""
    taken_off = ", ".join(f"CAST({sql} AS {QUANTITY}) AS {name}" for name, sql in columns.items())
    sql = f"""
    SELECT p.position_id, p.item_id, p.epoch_no, p.cell_no, e.terms_id, e.price_id, r.model,
           r.package_size{share}, {taken_off}
    FROM position p
    JOIN price_epoch e USING (item_id, epoch_no)
    JOIN price r ON r.price_id = e.price_id
    LEFT JOIN terms_tier f ON f.terms_id = e.terms_id AND f.cell_no = p.cell_no
     AND f.from_quantity = 0
    WHERE p.used OR NOT p.continues AND f.flat_amount <> 0
"""
    if packages:
        packed = ", ".join(f"{_packages(name)} AS {name}" for name in columns)
        sql = f"SELECT * REPLACE ({packed}) FROM ({sql})"
    return Statement("tier_position", sql)


def _reached(units: str, reach: str) -> str:
    """Whether the tier counts when a cycle has come to so many units; null for null. The band of a
    volume or stairstep price is the one that ``reach`` lies in."""
    return (
        f"(({units} IS NOT NULL) AND CASE WHEN p.model IN ('volume', 'stairstep') "
        f"THEN (t.from_quantity = 0 OR {reach} > t.from_quantity) "
        f"AND (t.up_to IS NULL OR {reach} <= t.up_to) "
        f"ELSE t.from_quantity = 0 OR {units} > t.from_quantity END)"
    )


def _within(units: str, reach: str) -> str:
    """How many of a cycle's units the tier prices."""
    return (
        f"CASE WHEN p.model = 'flat' OR NOT {_reached(units, reach)} THEN CAST(0 AS {QUANTITY}) "
        f"WHEN p.model IN ('volume', 'stairstep') THEN {units} "
        f"ELSE CAST(least({units}, coalesce(t.up_to, {units})) - t.from_quantity AS {QUANTITY}) END"
    )


def _difference(prefix: str, *, detailed: bool, stood: bool) -> tuple[str, str]:
    """Units and flat amounts of a tier between two positions."""

    def twice(ends: Sequence[str], made: Callable[[str, str], str]) -> list[str]:
        return [made(end, f"coalesce(p.{prefix}reach, {end})" if detailed else end) for end in ends]

    ends = [f"p.{prefix}{end}_units" for end in ("after", "before")]
    within = twice(ends, _within)
    if stood:
        peaks = [f"p.{prefix}peak_{end}" for end in ("after", "before")]
        ends = [
            f"(CASE WHEN p.share_days IS NULL THEN {end} ELSE {peak} END)"
            for end, peak in zip(ends, peaks, strict=True)
        ]
    reached = twice(ends, _reached)
    units = f"CAST({within[0]} - {within[1]} AS {QUANTITY})"
    return units, f"CAST({reached[0]} AS INTEGER) - CAST({reached[1]} AS INTEGER)"


def _tier_step(*, detailed: bool, stood: bool, formulas: bool) -> Statement:
    units, flats = _difference("", detailed=detailed, stood=stood)
    list_units, list_flats = _difference("list_", detailed=detailed, stood=stood)
    share = ", p.share_days, p.cycle_days" if stood else ""
    further = f", list_units{share.replace('p.', '')}" if stood else ""
    sql = f"""
WITH counted AS (
    SELECT p.position_id, t.from_quantity, t.up_to, t.unit_amount, t.flat_amount{share},
           {units} AS units, {flats} AS flats,
           CASE WHEN p.list_after_units IS NOT NULL THEN {list_units} END AS list_units,
           CASE WHEN p.list_after_units IS NOT NULL THEN {list_flats} END AS list_flats
    FROM tier_position p JOIN terms_tier t ON t.terms_id = p.terms_id AND t.cell_no = p.cell_no
)
SELECT position_id, from_quantity, up_to, unit_amount, units, flats,
       CAST(flats AS DECIMAL(4,0)) * flat_amount AS flat_amount,
       units * unit_amount + CAST(flats AS DECIMAL(4,0)) * flat_amount AS amount,
       list_units * unit_amount + CAST(list_flats AS DECIMAL(4,0)) * flat_amount AS list_amount
       {further}
FROM counted
"""
    if formulas:
        sql += "UNION ALL BY NAME SELECT * FROM formula_step"
    return Statement("tier_step", sql)


STEPS = f"""list_sort(list(struct_pack({{cell}}
           "from" := from_quantity, up_to := up_to, quantity := CAST(units AS {QUANTITY}),
           unit_amount := unit_amount, flat_amount := CAST(flat_amount AS DECIMAL(38,10)),
           amount := CAST(amount AS {PRODUCT}))) FILTER (units <> 0 OR flats <> 0))"""
"""The steps of a group of tier steps, in order of the tiers, and of the ``cell`` before them."""

_PRICED = f"""
SELECT position_id, CAST(sum(amount) AS {PRODUCT}) AS gross,
       CAST(sum(list_amount) AS {PRODUCT}) AS list_gross,
       count(*) FILTER (units <> 0) AS unit_amounts,
       bool_or(flat_amount <> 0) AS has_flat,
       max(unit_amount) FILTER (units <> 0) AS unit_amount,
       {STEPS.format(cell="")} AS steps
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


def tier_steps(
    *,
    detailed: bool = False,
    stood: bool = False,
    formulas: bool = False,
    packages: bool = True,
) -> tuple[Statement, ...]:
    """Make ``priced``: position_id, gross and list_gross DECIMAL(38,25) (list_gross null where
    nothing is included), unit_amounts BIGINT, has_flat BOOLEAN, unit_amount, steps (list of
    structs: from, up_to, quantity, unit_amount, flat_amount, amount; in order of the tiers).

    With ``formulas`` what is in ``formula_step`` counts as tiers too. No price counts in packages
    unless ``packages``.
    """
    return (
        _tier_position(detailed=detailed, stood=stood, packages=packages),
        _tier_step(detailed=detailed, stood=stood, formulas=formulas),
        Statement("priced", _PRICED),
    )
