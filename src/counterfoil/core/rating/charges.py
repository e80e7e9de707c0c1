"""The last step: proration by days and the one rounding, to the currency's minor unit."""

from counterfoil.core.money.exact_sql import (
    decimal15,
    half_up,
    minor_units,
    power_of_ten,
    raw,
    rounded,
)
from counterfoil.core.rating.relations import QUANTITY, Statement

# A recurring quantity has 6 decimals and a price 10, so their product has 16: times the days it
# is an exact integer count of 10**-16.
_SHARE_DIGITS = 16
_MINOR_SHARES = f"(cycle_days * {power_of_ten('minor_digits', _SHARE_DIGITS)})"

_RATED_COLUMNS = """item_id, epoch_no, service_start, service_end, price_id, layer, events,
       quantity, quantity_before, included_quantity, days, cycle_days, unit_amount"""

_PRICED_EPOCH = """
SELECT p.item_id, p.epoch_no, p.events, p.quantity_before, p.quantity_after, p.continues,
       c.gross, c.list_gross, c.unit_amounts, c.has_flat, c.unit_amount, c.steps
FROM position p JOIN priced c USING (position_id)
"""

# Most charges are not divided by days, and 128-bit division costs more than all the rest.
_RATED = f"""
WITH joined AS MATERIALIZED (
    SELECT i.item_id, e.epoch_no, e.epoch_start AS service_start, e.epoch_end AS service_end,
           e.price_id, e.layer, c.events,
           CAST(c.quantity_after - c.quantity_before AS {QUANTITY}) AS quantity, c.quantity_before,
           CAST(least(c.quantity_after, r.included_quantity)
                - CASE WHEN c.continues THEN least(c.quantity_before, r.included_quantity)
                       ELSE 0 END AS {QUANTITY}) AS included_quantity,
           CAST(CASE WHEN i.prorated THEN e.epoch_end - e.epoch_start
                     ELSE i.cycle_end - i.cycle_start END AS BIGINT) AS days,
           CAST(i.cycle_end - i.cycle_start AS BIGINT) AS cycle_days,
           CASE WHEN c.unit_amounts = 1 AND NOT c.has_flat AND r.package_size IS NULL
                     AND c.list_gross IS NULL THEN c.unit_amount END AS unit_amount,
           i.kind, i.minor_digits, c.gross, coalesce(c.list_gross, c.gross) AS list_gross,
           b.exact_amount AS billed_exact, b.amount AS billed_amount
    FROM charge_item i
    JOIN price_epoch e USING (item_id)
    JOIN priced_epoch c USING (item_id, epoch_no)
    JOIN price r ON r.price_id = e.price_id
    LEFT JOIN billed_epoch b USING (item_id, epoch_no)
), share AS (
    SELECT *, {raw("CAST(gross AS DECIMAL(38,16))", _SHARE_DIGITS)} * days AS share,
           {raw("CAST(list_gross AS DECIMAL(38,16))", _SHARE_DIGITS)} * days AS list_share
    FROM joined WHERE kind = 'recurring'
), divided AS (
    SELECT *, {half_up("share", _MINOR_SHARES)} AS minor,
           {half_up("share", "(cycle_days * 10::HUGEINT)")} AS exact_15,
           {half_up("list_share", "(cycle_days * 10::HUGEINT)")} AS list_15
    FROM share
)
SELECT {_RATED_COLUMNS}, {decimal15("list_15")} AS list_amount,
       {decimal15("exact_15")} AS exact_amount, {minor_units("minor", "minor_digits")} AS amount
FROM divided
UNION ALL
SELECT {_RATED_COLUMNS}, CAST(list_gross AS {QUANTITY}), CAST(gross AS {QUANTITY}),
       CASE WHEN billed_amount IS NULL THEN {rounded("gross", "minor_digits")}
            ELSE {rounded("(gross + billed_exact)", "minor_digits")} - billed_amount END
FROM joined
WHERE kind = 'one_time' OR kind = 'usage'
      AND (quantity <> 0 OR events > 0 AND quantity_before = 0 OR gross <> 0)
"""

RATED_CHARGES: tuple[Statement, ...] = (
    Statement("priced_epoch", _PRICED_EPOCH, view=True),
    Statement("rated", _RATED),
)
"""Make ``rated``: item_id, epoch_no, service_start, service_end, price_id, layer, events, quantity,
quantity_before, included_quantity, days, cycle_days, unit_amount (null where several applied),
list_amount and exact_amount DECIMAL(38,15), amount DECIMAL(20,4); its steps stand in
``priced_epoch``. What comes after a first billing of the same epoch is rounded together with it, so
that a cycle billed in parts costs what it would have cost at once."""
