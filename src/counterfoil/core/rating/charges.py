"""The last step: proration by days and the one rounding, to the currency's minor unit."""

from collections.abc import Collection

from counterfoil.core.money.exact_sql import (
    decimal15,
    half_up,
    minor_units,
    power_of_ten,
    raw,
    rounded,
)
from counterfoil.core.rating.event_amounts import EVENT_AMOUNT_STEP
from counterfoil.core.rating.relations import PRODUCT, QUANTITY, Statement
from counterfoil.core.rating.tiers import STEPS

# A recurring quantity has 6 decimals and a price 10, so their product has 16: times the days it
# is an exact integer count of 10**-16.
_SHARE_DIGITS = 16
_MINOR_SHARES = f"({{whole}} * {power_of_ten('minor_digits', _SHARE_DIGITS)})"

_RATED_COLUMNS = """item_id, epoch_no, service_start, service_end, price_id, layer, events,
       quantity, quantity_before, included_quantity, days, cycle_days, unit_amount"""

_INCLUDED = f"""CAST(least(p.quantity_after, r.included_quantity)
            - CASE WHEN p.continues THEN least(p.quantity_before, r.included_quantity)
                   ELSE 0 END AS {QUANTITY})"""

_OF_EPOCH = ", e.epoch_start, e.epoch_end, e.price_id, e.layer, r.package_size, r.model"
_PRICED_EPOCH = f"""
SELECT p.item_id, p.epoch_no, p.events, p.quantity_before,
       CAST(p.quantity_after - p.quantity_before AS {QUANTITY}) AS quantity,
       {_INCLUDED} AS included_quantity, c.gross, nullif(c.list_gross, c.gross) AS list_gross,
       c.unit_amounts, c.has_flat, c.unit_amount, c.steps, false AS again{_OF_EPOCH}
FROM position p JOIN priced c USING (position_id)
JOIN price_epoch e USING (item_id, epoch_no)
JOIN price r ON r.price_id = e.price_id
"""

_STEP = """
SELECT p.item_id, p.epoch_no, p.cell_no, t.from_quantity, any_value(t.up_to) AS up_to,
       t.unit_amount, false AS stood, sum(t.units) AS units, sum(t.flats) AS flats,
       sum(t.flat_amount) AS flat_amount, sum(t.amount) AS amount,
       sum(coalesce(t.list_amount, t.amount)) AS list_amount
FROM tier_step t JOIN place p USING (position_id)
GROUP BY p.item_id, p.epoch_no, p.cell_no, t.from_quantity, t.unit_amount
"""


def _stood_units(units: str) -> str:
    """Units that stood some days only are unit-days until they are added up and divided, once."""
    unit_days = raw(f"CAST(sum({units} * t.share_days) AS {QUANTITY})", 15)
    divided = decimal15(half_up(unit_days, "any_value(t.cycle_days)::HUGEINT"))
    return f"CASE WHEN any_value(t.cycle_days) IS NULL THEN sum({units}) ELSE {divided} END"


_STOOD_STEP = f"""
SELECT *, units * unit_amount + flat_amount AS amount,
       list_units * unit_amount + list_flat_amount AS list_amount
FROM (SELECT p.item_id, p.epoch_no, p.cell_no, t.from_quantity, any_value(t.up_to) AS up_to,
             t.unit_amount, any_value(t.cycle_days) IS NOT NULL AS stood,
             {_stood_units("t.units")} AS units,
             {_stood_units("coalesce(t.list_units, t.units)")} AS list_units,
             sum(t.flats) AS flats, sum(t.flat_amount) AS flat_amount,
             sum(coalesce(t.list_amount - t.list_units * t.unit_amount, t.flat_amount))
                 AS list_flat_amount
      FROM tier_step t JOIN place p USING (position_id)
      GROUP BY p.item_id, p.epoch_no, p.cell_no, t.from_quantity, t.unit_amount)
"""

# Of matrix prices and grouped usage each step names its cell.
_LABELLED = """
SELECT s.*, CASE WHEN s.cell_no < 0 THEN g.label WHEN s.cell_no <> 0 THEN l.label
                 WHEN s.cell_no = 0 AND m.charge_id IS NOT NULL THEN 'everything else' END AS cell
FROM ({step}) s JOIN charge_item i USING (item_id)
LEFT JOIN price_cell l ON l.charge_id = i.charge_id AND l.cell_no = s.cell_no
LEFT JOIN (SELECT DISTINCT charge_id, cell_no, label FROM group_cell) g
  ON g.charge_id = i.charge_id AND g.cell_no = s.cell_no
LEFT JOIN (SELECT DISTINCT charge_id FROM price_cell) m ON m.charge_id = i.charge_id
"""

# Several positions of an item and epoch (events, cells, days) become one again. What has been
# billed of an epoch is taken off where it was priced anew as a whole.
_SUMMED_EPOCH = f"""
WITH place AS (
    SELECT p.item_id, p.epoch_no, p.cell_no, p.position_id, p.events,
           coalesce(p.list_before, p.quantity_before) AS quantity_before,
           coalesce(p.list_after - p.list_before, p.quantity_after - p.quantity_before) AS quantity,
           coalesce(p.list_after - p.list_before - p.quantity_after + p.quantity_before, 0)
               + {_INCLUDED} AS included_quantity
    FROM position p
    JOIN price_epoch e USING (item_id, epoch_no)
    JOIN price r ON r.price_id = e.price_id
), counted AS (
    SELECT item_id, epoch_no, sum(events) AS events, min(quantity_before) AS quantity_before,
           sum(quantity) AS quantity, sum(included_quantity) AS included_quantity
    FROM place GROUP BY item_id, epoch_no
), step AS ({{step}}), summed AS (
    SELECT item_id, epoch_no, bool_or(stood) AS stood, CAST(sum(amount) AS {PRODUCT}) AS gross,
           CAST(sum(list_amount) AS {PRODUCT}) AS list_gross,
           count(*) FILTER (units <> 0) AS unit_amounts, bool_or(flat_amount <> 0) AS has_flat,
           max(unit_amount) FILTER (units <> 0) AS unit_amount,
           {STEPS.format(cell="{cell}")} AS steps
    FROM step GROUP BY item_id, epoch_no
), billed AS (
    SELECT b.* FROM billed_epoch b JOIN charge_item i USING (item_id) WHERE {{anew}}
)
SELECT c.item_id, c.epoch_no, CAST(c.events AS BIGINT) AS events,
       CAST(c.quantity_before AS {QUANTITY}) AS quantity_before,
       CAST(c.quantity - coalesce(b.quantity, 0) AS {QUANTITY}) AS quantity,
       CAST(c.included_quantity AS {QUANTITY}) AS included_quantity,
       CAST(s.gross - coalesce(b.exact_amount, 0) AS {PRODUCT}) AS gross,
       nullif(CAST(s.list_gross - coalesce(b.list_amount, 0) AS {PRODUCT}),
              CAST(s.gross - coalesce(b.exact_amount, 0) AS {PRODUCT})) AS list_gross,
       s.unit_amounts, s.has_flat,
       CASE WHEN b.exact_amount IS NULL AND (NOT s.stood OR s.gross = c.quantity * s.unit_amount)
            THEN s.unit_amount END AS unit_amount,
       s.steps, b.exact_amount IS NOT NULL AS again{_OF_EPOCH}
FROM counted c
JOIN summed s USING (item_id, epoch_no)
JOIN price_epoch e USING (item_id, epoch_no)
JOIN price r ON r.price_id = e.price_id
LEFT JOIN billed b USING (item_id, epoch_no)
"""
KINDS = ("one_time", "recurring", "usage")
"""The kinds of charges."""

_ANEW = "i.by_event OR i.item_id IN (SELECT item_id FROM anew_item)"

_JOINED = """
    SELECT i.item_id, c.epoch_no, c.epoch_start AS service_start, c.epoch_end AS service_end,
           c.price_id, c.layer, c.events,
           c.quantity, c.quantity_before, c.included_quantity,
           CAST(CASE WHEN i.prorated THEN c.epoch_end - c.epoch_start
                     ELSE i.cycle_end - i.cycle_start END AS BIGINT) AS days,
           CAST(i.cycle_end - i.cycle_start AS BIGINT) AS cycle_days,
           CASE WHEN c.unit_amounts = 1 AND NOT c.has_flat AND c.package_size IS NULL
                     AND c.model <> 'formula'
                     AND c.list_gross IS NULL THEN c.unit_amount END AS unit_amount,
           i.kind, i.minor_digits, c.again, c.gross,
           coalesce(c.list_gross, c.gross) AS list_gross{billed}
    FROM charge_item i
    JOIN priced_epoch c USING (item_id)
    {joined}WHERE NOT i.counted_only
"""
_BILLED = ", b.exact_amount AS billed_exact, b.amount AS billed_amount"
_WITH_BILLED = "LEFT JOIN billed_epoch b USING (item_id, epoch_no)\n    "

_SECONDS = ", x.seconds, x.cycle_seconds"
_WITH_SECONDS = "LEFT JOIN second_share x USING (item_id, epoch_no)\n    "

# Most charges are not divided by days, and 128-bit division costs more than all the rest.
_BY_DAYS = f"""
), share AS (
    SELECT *, {raw("CAST(gross AS DECIMAL(38,16))", _SHARE_DIGITS)} * {{part}} AS share,
           {raw("CAST(list_gross AS DECIMAL(38,16))", _SHARE_DIGITS)} * {{part}} AS list_share
    FROM joined WHERE kind = 'recurring'
), divided AS (
    SELECT *, {half_up("share", _MINOR_SHARES)} AS minor,
           {half_up("share", "({whole} * 10::HUGEINT)")} AS exact_15,
           {half_up("list_share", "({whole} * 10::HUGEINT)")} AS list_15
    FROM share
)
SELECT {_RATED_COLUMNS}, {decimal15("list_15")} AS list_amount,
       {decimal15("exact_15")} AS exact_amount, {minor_units("minor", "minor_digits")} AS amount
FROM divided
"""
_ROUNDED = rounded("gross", "minor_digits")
_ROUNDED_TOGETHER = f"""CASE WHEN billed_amount IS NULL THEN {_ROUNDED}
            ELSE {rounded("(gross + billed_exact)", "minor_digits")} - billed_amount END"""
_AS_A_WHOLE = f"""
SELECT {_RATED_COLUMNS}, CAST(list_gross AS {QUANTITY}) AS list_amount,
       CAST(gross AS {QUANTITY}) AS exact_amount, {{rounded}} AS amount
FROM joined
WHERE kind = 'one_time' OR kind = 'usage'
      AND (quantity <> 0 OR CAST(gross AS {QUANTITY}) <> 0
           OR events > 0 AND quantity_before = 0 AND NOT again)
"""


def rated_charges(
    *,
    detailed: bool = False,
    anew: bool = False,
    stood: bool = False,
    by_event: bool = False,
    cells: bool = False,
    kinds: Collection[str] = KINDS,
    late: bool = True,
    by_second: bool = False,
    few: bool = False,
) -> tuple[Statement, Statement]:
    """Make ``rated``: item_id, epoch_no, service_start, service_end, price_id, layer, events,
    quantity, quantity_before, included_quantity, days, cycle_days, unit_amount (null where several
    applied), list_amount and exact_amount DECIMAL(38,15), amount DECIMAL(20,4); its steps stand in
    ``priced_epoch``.

    What comes after a first billing of the same epoch is rounded together with it, so that a cycle
    billed in parts costs what it would have cost at once. Only charges of these ``kinds`` are
    among the items, and nothing was billed of them unless ``late``. With ``by_second`` the share of
    some is in ``second_share`` (core.rating.seconds). Of ``few`` items ``priced_epoch`` is kept, as
    it is read more than once.
    """
    rated = Statement("rated", _rated(kinds, late=late, by_second=by_second))
    if not detailed:
        return Statement("priced_epoch", _PRICED_EPOCH, view=not few), rated
    step = (_STOOD_STEP if stood else _STEP) + (EVENT_AMOUNT_STEP if by_event else "")
    summed = _SUMMED_EPOCH.format(
        step=_LABELLED.format(step=step) if cells else step,
        anew=_ANEW if anew else "i.by_event",
        cell="cell := cell," if cells else "",
    )
    return Statement("priced_epoch", summed), rated


def _rated(kinds: Collection[str], *, late: bool, by_second: bool) -> str:
    billed, with_billed = (_BILLED, _WITH_BILLED) if late else ("", "")
    part, whole_part = "days", "cycle_days"
    if by_second:
        billed, with_billed = billed + _SECONDS, with_billed + _WITH_SECONDS
        part, whole_part = "coalesce(seconds, days)", "coalesce(cycle_seconds, cycle_days)"
    parts = _JOINED.format(billed=billed, joined=with_billed)
    joined = f"WITH joined AS MATERIALIZED ({parts}"
    whole = _AS_A_WHOLE.format(rounded=_ROUNDED_TOGETHER if late else _ROUNDED)
    if "recurring" not in kinds:
        return f"{joined.replace(' MATERIALIZED', '')}){whole}"
    by_days = _BY_DAYS.format(part=part, whole=whole_part)
    return f"{joined}{by_days}" + (f"UNION ALL{whole}" if set(kinds) != {"recurring"} else "")
