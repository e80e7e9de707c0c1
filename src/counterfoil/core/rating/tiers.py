"""Tier by tier: what a stretch of a cycle's quantity costs, as the difference of two positions.

The price of a quantity Q is a function G(Q) of the cycle's total; a stretch from ``before`` to
``after`` costs G(after) - G(before). So late usage, price changes and single events always add up
to what the whole would have cost.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from counterfoil.core.money.exact_sql import raw
from counterfoil.core.rating.relations import PRODUCT, QUANTITY, Relation, Statement


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """What positions and their prices use; by default everything.

    ``detailed``: there are positions of several sorts, with further columns; ``stood``: some stood
    for some days only; ``formulas``: what is in ``formula_step`` counts as tiers too. ``packages``:
    some prices count in packages; ``bands``: some price all by the tier that the cycle comes to;
    ``included``: some include something. ``begun``: of some something was priced before.
    """

    detailed: bool = False
    stood: bool = False
    formulas: bool = False
    packages: bool = True
    bands: bool = True
    included: bool = True
    begun: bool = True

    @property
    def listed(self) -> bool:
        """Whether anything can cost less than it is listed at."""
        return self.included or self.detailed

    @property
    def ends(self) -> tuple[str, ...]:
        """Between which positions something is priced; without a second one from nothing on."""
        return ("after", "before") if self.begun or self.detailed else ("after",)


def _tier_position(use: Tiers) -> Statement:
    """The positions that matter: where the stretch ends and begins, with what is included taken
    off (billed) and without (list; only where something is included); nothing begins at null. In a
    pool also what the whole comes to, by which a volume price finds its band; of what stood some
    days only, the highest levels before and after, between which flat amounts become due."""
    detailed, stood = use.detailed, use.stood
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
    if "before" not in use.ends:
        columns["before_units"] = columns["list_before_units"] = "NULL"
    if not use.listed:
        columns["list_after_units"] = columns["list_before_units"] = "NULL"
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
    LEFT JOIN terms_tier f ON f.terms_id = e.terms_id AND f.cell_no = greatest(p.cell_no, 0)
     AND f.from_quantity = 0
    WHERE p.used OR NOT p.continues AND f.flat_amount <> 0
"""
    if use.packages:
        packed = ", ".join(f"{_packages(name)} AS {name}" for name in columns)
        sql = f"SELECT * REPLACE ({packed}) FROM ({sql})"
    return Statement("tier_position", sql)


def _reached(units: str, reach: str, *, bands: bool) -> str:
    """Whether the tier counts when a cycle has come to so many units; null for null. The band of a
    volume or stairstep price is the one that ``reach`` lies in."""
    reached = f"t.from_quantity = 0 OR {units} > t.from_quantity"
    if bands:
        reached = (
            "CASE WHEN p.model IN ('volume', 'stairstep') "
            f"THEN (t.from_quantity = 0 OR {reach} > t.from_quantity) "
            f"AND (t.up_to IS NULL OR {reach} <= t.up_to) ELSE {reached} END"
        )
    return f"(({units} IS NOT NULL) AND ({reached}))"


def _within(units: str, reach: str, *, bands: bool) -> str:
    """How many of a cycle's units the tier prices."""
    banded = f"WHEN p.model IN ('volume', 'stairstep') THEN {units} " if bands else ""
    return (
        f"CASE WHEN p.model = 'flat' OR NOT {_reached(units, reach, bands=bands)} "
        f"THEN CAST(0 AS {QUANTITY}) {banded}"
        f"ELSE CAST(least({units}, coalesce(t.up_to, {units})) - t.from_quantity AS {QUANTITY}) END"
    )


def _difference(prefix: str, use: Tiers) -> tuple[str, str]:
    """Units and flat amounts of a tier between two positions."""

    def at(ends: Sequence[str], reach: str, made: Callable[..., str]) -> list[str]:
        return [made(end, reach.format(end=end), bands=use.bands) for end in ends]

    ends = [f"p.{prefix}{end}_units" for end in use.ends]
    reach = f"coalesce(p.{prefix}reach, {{end}})" if use.detailed else "{end}"
    within = at(ends, reach, _within)
    if use.stood:
        peaks = [f"p.{prefix}peak_{end}" for end in use.ends]
        ends = [
            f"(CASE WHEN p.share_days IS NULL THEN {end} ELSE {peak} END)"
            for end, peak in zip(ends, peaks, strict=True)
        ]
        # The flat amount of a band, too, is due for the highest level, not for the one at the end.
        reach = f"(CASE WHEN p.share_days IS NULL THEN {reach} ELSE {{end}} END)"
    reached = [f"CAST({sql} AS INTEGER)" for sql in at(ends, reach, _reached)]
    return f"CAST({' - '.join(within)} AS {QUANTITY})", " - ".join(reached)


# Groups, whose cells are below zero, have the tiers of cell 0.
def _tier_step(use: Tiers) -> Statement:
    units, flats = _difference("", use)
    list_units, list_flats = f"CAST(NULL AS {QUANTITY})", "CAST(NULL AS INTEGER)"
    if use.listed:
        list_units, list_flats = (
            f"CASE WHEN p.list_after_units IS NOT NULL THEN {sql} END"
            for sql in _difference("list_", use)
        )
    share = ", p.share_days, p.cycle_days" if use.stood else ""
    further = f", list_units{share.replace('p.', '')}" if use.stood else ""
    sql = f"""
WITH counted AS (
    SELECT p.position_id, t.from_quantity, t.up_to, t.unit_amount, t.flat_amount{share},
           {units} AS units, {flats} AS flats,
           {list_units} AS list_units, {list_flats} AS list_flats
    FROM tier_position p
    JOIN terms_tier t ON t.terms_id = p.terms_id AND t.cell_no = greatest(p.cell_no, 0)
)
SELECT position_id, from_quantity, up_to, unit_amount, units, flats,
       CAST(flats AS DECIMAL(4,0)) * flat_amount AS flat_amount,
       units * unit_amount + CAST(flats AS DECIMAL(4,0)) * flat_amount AS amount,
       list_units * unit_amount + CAST(list_flats AS DECIMAL(4,0)) * flat_amount AS list_amount
       {further}
FROM counted
"""
    if use.formulas:
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
FROM farthest f LEFT JOIN reach r ON r.terms_id = f.terms_id AND r.cell_no = greatest(f.cell_no, 0)
WHERE f.model <> 'formula' AND (r.terms_id IS NULL
   OR f.model <> 'flat' AND (NOT r.gapless OR NOT r.open AND f.units > r.up_to))
"""

_UNCOVERED_RELATION = Relation(
    "uncovered",
    {"item_id": "BIGINT", "epoch_no": "BIGINT", "price_id": "BIGINT", "units": QUANTITY},
    "Positions that no tier of their price covers.",
)

NOTHING_UNCOVERED = Statement("uncovered", _UNCOVERED_RELATION.nothing, empty=True)
"""Where all prices have tiers for whatever there may be to price."""

UNCOVERED = Statement("uncovered", _UNCOVERED)
"""After ``tier_steps``: item_id, epoch_no, price_id, units of the positions that no tier of their
price covers, in full or in part. What was priced for them is not to be used."""


def tier_steps(use: Tiers) -> tuple[Statement, ...]:
    """Make ``priced``: position_id, gross and list_gross DECIMAL(38,25) (list_gross null where
    nothing is included), unit_amounts BIGINT, has_flat BOOLEAN, unit_amount, steps (list of
    structs: from, up_to, quantity, unit_amount, flat_amount, amount; in order of the tiers).
    """
    return _tier_position(use), _tier_step(use), Statement("priced", _PRICED)
