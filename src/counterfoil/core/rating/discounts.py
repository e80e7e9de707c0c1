"""What discounts take off the lines of invoices.

Discounts come one after the other, each taking from what the ones before it have left. So the
statements run in rounds, as many as the invoice with the most discounts has; a round takes the
next discount of every invoice at once. What a discount takes off an invoice is rounded once and
spread over its lines by largest remainder, so that the parts add up to it.

An invoice is a billed account and the date it is billed on: a bill run has one date, what is rated
again of past periods many.
"""

from counterfoil.core.money.exact_sql import (
    FLOORED,
    half_up,
    largest_remainders,
    minor_units,
    power_of_ten,
    raw,
)
from counterfoil.core.rating.relations import Statement

DISCOUNTABLE = (
    "c.applies_to_row IS NULL AND c.kind IN ('one_time', 'recurring', 'usage', 'minimum')"
)
"""Rows of ``charged`` a discount may take something off; with what applies to them."""

_NET = f"""
SELECT c.row_no, c.billed_account_id,
       CAST(c.amount + coalesce(a.amount, 0) AS DECIMAL(20,4)) AS net
FROM charged c
LEFT JOIN (SELECT applies_to_row, sum(amount) AS amount FROM charged
           WHERE applies_to_row IS NOT NULL GROUP BY applies_to_row) a
  ON a.applies_to_row = c.row_no
WHERE {DISCOUNTABLE}
"""

_SUITS = """(d.currency IS NULL OR d.currency = c.currency)
  AND (d.valid_from IS NULL OR c.service_start >= d.valid_from)
  AND (d.valid_to IS NULL OR c.service_start < d.valid_to)
  AND (d.discount_id NOT IN (SELECT discount_id FROM discount_target)
       OR EXISTS (SELECT 1 FROM discount_target t WHERE t.discount_id = d.discount_id
                  AND (t.product_id = c.product_id OR t.rate_plan_id = c.rate_plan_id
                       OR t.charge_id = c.charge_id OR t.subscription_id = c.subscription_id)))"""

_OFFERED = f"""
WITH offered AS (
    SELECT c.row_no, d.discount_id, c.billed_account_id AS holder_id
    FROM charged c CROSS JOIN discount d
    WHERE d.audience = 'everyone' AND {DISCOUNTABLE}
    UNION ALL
    SELECT c.row_no, s.discount_id, s.holder_id
    FROM charged c JOIN discount_scope s USING (account_id) WHERE {DISCOUNTABLE}
)
SELECT o.row_no, o.discount_id, o.holder_id, c.billed_account_id, c.billed_on, d.priority,
       b.basis_id, c.subscription_id, c.charge_id, c.cycle_start, c.service_start, d.cycles
FROM offered o JOIN discount d USING (discount_id) JOIN charged c USING (row_no)
LEFT JOIN discount_basis b
  ON b.discount_id = d.discount_id AND b.subscription_id = c.subscription_id
 AND (b.holder_id IS NULL OR b.holder_id = o.holder_id)
WHERE {_SUITS}
  AND NOT EXISTS (SELECT 1 FROM unmet_discount u
                  WHERE u.row_no = o.row_no AND u.discount_id = o.discount_id)
"""

# A requirement without a minimum asks for a subscription that runs when the line's service begins;
# with one, for so much on the same billing date.
_MET = """
WITH counted AS (
    SELECT r.requirement_id, b.basis_id, l.billed_on, sum(l.quantity) AS quantity,
           sum(l.amount) AS amount
    FROM discount_requirement r
    JOIN discount_basis b USING (discount_id)
    JOIN basis_line l ON l.subscription_id = b.subscription_id AND l.discount_id IS NULL
     AND (r.product_id = l.product_id OR r.rate_plan_id = l.rate_plan_id
          OR r.charge_id = l.charge_id)
    GROUP BY r.requirement_id, b.basis_id, l.billed_on
), running AS (
    SELECT DISTINCT g.requirement_id, b.basis_id, g.start_date, g.end_date
    FROM requirement_running g
    JOIN discount_requirement r USING (requirement_id)
    JOIN discount_basis b ON b.discount_id = r.discount_id AND b.subscription_id = g.subscription_id
), fulfilled AS (
    SELECT o.row_no, o.discount_id, r.requirement_id
    FROM discount_offer o
    JOIN discount_requirement r USING (discount_id)
    JOIN running g ON g.requirement_id = r.requirement_id AND g.basis_id = o.basis_id
     AND g.start_date <= o.service_start AND (g.end_date IS NULL OR g.end_date > o.service_start)
    WHERE r.minimum_quantity IS NULL AND r.minimum_amount IS NULL
    UNION
    SELECT o.row_no, o.discount_id, r.requirement_id
    FROM discount_offer o
    JOIN discount_requirement r USING (discount_id)
    JOIN counted n ON n.requirement_id = r.requirement_id AND n.basis_id = o.basis_id
     AND n.billed_on = o.billed_on
    WHERE (r.minimum_quantity IS NOT NULL OR r.minimum_amount IS NOT NULL)
      AND (r.minimum_quantity IS NULL OR n.quantity >= r.minimum_quantity)
      AND (r.minimum_amount IS NULL OR n.amount >= r.minimum_amount)
)
SELECT f.row_no, f.discount_id
FROM fulfilled f
JOIN (SELECT discount_id, count(*) AS requirements FROM discount_requirement
      GROUP BY discount_id) q USING (discount_id)
GROUP BY f.row_no, f.discount_id, q.requirements HAVING count(*) = q.requirements
"""

# The cycles of a charge that had the discount before count, whatever else happened to them. Where
# the volume of several invoices decides, their turn at the discount is the same: nobody's volume is
# what others were left with. So it is where several invoices use up a discount: in their order.
_LINE = """
WITH had AS (
    SELECT discount_id, subscription_id, charge_id, count(DISTINCT cycle_start) AS cycles
    FROM discount_cycle GROUP BY ALL
), placed AS (
    SELECT o.*, y.cycle_start IS NOT NULL AS again,
           dense_rank() OVER (PARTITION BY o.discount_id, o.subscription_id, o.charge_id,
                                  y.cycle_start IS NULL ORDER BY o.cycle_start) AS nth
    FROM discount_offer o
    LEFT JOIN (SELECT DISTINCT * FROM discount_cycle) y
      USING (discount_id, subscription_id, charge_id, cycle_start)
    WHERE o.discount_id NOT IN (SELECT discount_id FROM discount_requirement)
       OR EXISTS (SELECT 1 FROM requirement_met m
                  WHERE m.discount_id = o.discount_id AND m.row_no = o.row_no)
), taking AS (
    SELECT p.* FROM placed p LEFT JOIN had h USING (discount_id, subscription_id, charge_id)
    WHERE p.cycles IS NULL OR p.again OR coalesce(h.cycles, 0) + p.nth <= p.cycles
), shared AS (
    SELECT DISTINCT t.priority, t.discount_id FROM taking t JOIN discount d USING (discount_id)
    WHERE d.kind = 'volume'
    GROUP BY t.priority, t.discount_id, t.basis_id, t.billed_on
    HAVING count(DISTINCT t.billed_account_id) > 1
    UNION
    SELECT t.priority, t.discount_id FROM taking t JOIN discount d USING (discount_id)
    WHERE d.maximum_uses IS NOT NULL OR d.holder_uses IS NOT NULL OR d.holder_maximum IS NOT NULL
    GROUP BY t.priority, t.discount_id
    HAVING count(DISTINCT (t.billed_account_id, t.billed_on)) > 1
), staged AS (
    SELECT t.*, (SELECT count(*) FROM shared s WHERE s.priority < t.priority
                 OR s.priority = t.priority AND s.discount_id <= t.discount_id) AS stage
    FROM taking t
), turn AS (
    SELECT *, dense_rank() OVER (PARTITION BY billed_account_id, billed_on, stage
                                 ORDER BY priority, discount_id) AS turn
    FROM staged
)
SELECT row_no, discount_id, holder_id, billed_account_id, billed_on, basis_id,
       dense_rank() OVER (ORDER BY stage, turn) AS round_no
FROM turn
"""

# All lines a volume discount could be for by what it says, whoever holds it; of what was billed
# before on the same date, less the discounts that come before it.
_VOLUME_LINE = f"""
SELECT d.discount_id, b.basis_id, c.billed_on, c.row_no, c.amount
FROM discount d
JOIN discount_basis b USING (discount_id)
JOIN basis_line c USING (subscription_id)
WHERE d.kind = 'volume' AND {_SUITS}
  AND (c.discount_id IS NULL
       OR c.priority < d.priority OR c.priority = d.priority AND c.discount_id < d.discount_id)
"""

DISCOUNT_LINES: tuple[Statement, ...] = (
    Statement("net", _NET, view=True),
    Statement("discount_offer", _OFFERED),
    Statement("requirement_met", _MET),
    Statement("discount_line", _LINE),
    Statement("volume_line", _VOLUME_LINE),
)
"""Need ``charged``, with ``billed_on``, the date of the invoice, beside; ``discount``;
``discount_scope`` (account_id, discount_id, holder_id: whose lines a held discount is for);
``discount_target`` (discount_id, product_id, rate_plan_id, charge_id, subscription_id);
``discount_basis`` (discount_id, basis_id, subscription_id, holder_id: over which subscriptions one
that counts anything counts, and for whom alone if not for all); ``discount_requirement`` with
``requirement_running`` (requirement_id, subscription_id, start_date, end_date); ``basis_line``, all
that is billed on the billing date (row_no of ``charged``, null of earlier invoices; billed_on,
subscription_id, product_id, rate_plan_id, charge_id, service_start, currency, quantity, amount; of
a discount given on an earlier one its discount_id and priority); ``discount_cycle`` (discount_id,
subscription_id, charge_id, cycle_start); and what core.rating.formula_discounts makes.

Make ``discount_line``: which line takes part in which discount of its invoice, and in which round;
``volume_line``: what counts for the percentage of a volume discount; and the view ``net``: what is
left of a line."""

_MINOR = power_of_ten("minor_digits", 4)
_VOLUME = """
(SELECT t.percent FROM discount_tier t WHERE t.discount_id = l.discount_id
 AND t.from_amount <= coalesce(v.amount, 0) ORDER BY t.from_amount DESC LIMIT 1)
"""

_WEIGHED = f"""
volume AS (
    SELECT discount_id, basis_id, billed_on, sum(amount) AS amount FROM (
        SELECT v.discount_id, v.basis_id, v.billed_on, n.net AS amount
        FROM volume_line v JOIN net n USING (row_no)
        UNION ALL
        SELECT discount_id, basis_id, billed_on, amount FROM volume_line WHERE row_no IS NULL)
    GROUP BY discount_id, basis_id, billed_on
), lined AS (
    SELECT l.row_no, l.discount_id, l.holder_id, l.billed_account_id, l.billed_on, d.kind,
           c.minor_digits, c.subscription_charge_id, c.service_start,
           {raw("n.net", 4)} AS net, v.amount AS volume,
           CASE d.kind WHEN 'volume' THEN coalesce({_VOLUME}, 0)
                       ELSE coalesce(f.percent, d.percent) END AS percent,
           CASE d.kind WHEN 'per_unit' THEN CAST(d.amount * c.quantity AS DECIMAL(38,16)) END
               AS per_unit,
           CASE c.kind WHEN 'recurring' THEN c.days ELSE 1 END AS days,
           CASE c.kind WHEN 'recurring' THEN c.cycle_days ELSE 1 END AS cycle_days
    FROM discount_line l
    JOIN discount d USING (discount_id)
    JOIN charged c USING (row_no)
    JOIN net n USING (row_no)
    LEFT JOIN volume v ON v.discount_id = l.discount_id AND v.basis_id = l.basis_id
     AND v.billed_on = l.billed_on
    LEFT JOIN discount_percentage f ON f.row_no = l.row_no AND f.discount_id = l.discount_id
    WHERE l.round_no = {{round}}
), weighed AS (
    SELECT * EXCLUDE (per_unit, days, cycle_days),
           CASE WHEN kind = 'per_unit'
               THEN least({half_up(raw("per_unit", 16) + " * days", "cycle_days")},
                          net * 1000000000000::HUGEINT)
               WHEN min(percent) OVER unit <> max(percent) OVER unit
               THEN net * {raw("percent", 6)} ELSE net END AS weight
    FROM lined WINDOW unit AS (PARTITION BY discount_id, holder_id, billed_account_id, billed_on)
)
"""

_PERCENTAGE = half_up(
    f"sum(w.net * {raw('w.percent', 6)})", f"(100000000::HUGEINT * any_value({_MINOR}))"
)
_FIXED = half_up(raw("any_value(d.amount)", 10), f"any_value({power_of_ten('minor_digits', 10)})")
_PER_UNIT = half_up("sum(w.weight)", f"any_value({power_of_ten('minor_digits', 16)})")


def _minor(amount: str) -> str:
    """An amount DECIMAL(20,4) as a HUGEINT of minor units, rounded down."""
    return f"({raw(amount, 4)} // {_MINOR})"


_LEFT = _minor("(holder_maximum - coalesce(holder_amount_before, 0))")


_WANTED = f"""
wanted AS (
    SELECT w.discount_id, w.holder_id, w.billed_account_id, w.billed_on, w.minor_digits,
           sum(w.weight) AS weights, sum(w.net) // any_value({_MINOR}) AS most,
           CASE any_value(w.kind) WHEN 'fixed' THEN {_FIXED} WHEN 'per_unit' THEN {_PER_UNIT}
                ELSE {_PERCENTAGE} END AS minor
    FROM weighed w JOIN discount d USING (discount_id)
    GROUP BY w.discount_id, w.holder_id, w.billed_account_id, w.billed_on, w.minor_digits
), used AS (
    SELECT discount_id, holder_id, sum(uses) AS uses, sum(amount) AS amount FROM (
        SELECT discount_id, holder_id, uses, amount FROM discount_use
        UNION ALL
        SELECT discount_id, holder_id, count(DISTINCT (billed_account_id, billed_on)),
               -sum(amount)
        FROM charged WHERE kind = 'discount' GROUP BY discount_id, holder_id)
    GROUP BY discount_id, holder_id
), capped AS (
    SELECT w.* EXCLUDE (minor), u.uses AS holder_uses_before, u.amount AS holder_amount_before,
           t.uses AS uses_before, d.maximum_uses, d.holder_uses, d.holder_maximum,
           CASE WHEN w.minor <= 0 THEN w.minor
                ELSE greatest(least(w.minor, w.most,
                    coalesce({_minor("d.invoice_maximum")}, w.minor)), 0) END AS one
    FROM wanted w JOIN discount d USING (discount_id)
    LEFT JOIN used u USING (discount_id, holder_id)
    LEFT JOIN (SELECT discount_id, sum(uses) AS uses FROM used GROUP BY discount_id) t
        USING (discount_id)
    WHERE w.weights <> 0 AND (w.minor > 0 AND w.most > 0 OR w.minor < 0 AND w.most < 0)
), held AS (
    SELECT c.*, row_number() OVER held AS holder_use_no,
           coalesce(sum(greatest(one, 0)) OVER (held ROWS BETWEEN UNBOUNDED PRECEDING
                                                AND 1 PRECEDING), 0) AS before, s.place
    FROM capped c JOIN seniority s USING (billed_account_id)
    WINDOW held AS (PARTITION BY discount_id, holder_id ORDER BY billed_on, place)
), allowed AS (
    SELECT * EXCLUDE (one), CASE WHEN one <= 0 OR holder_maximum IS NULL THEN one
                                 ELSE greatest(least(one, {_LEFT} - before), 0) END AS minor
    FROM held
    WHERE holder_uses IS NULL OR coalesce(holder_uses_before, 0) + holder_use_no <= holder_uses
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY discount_id
                                 ORDER BY billed_on, place, holder_id) AS use_no
    FROM allowed WHERE minor <> 0
), given AS (
    SELECT discount_id, holder_id, billed_account_id, billed_on, weights, minor FROM ranked
    WHERE maximum_uses IS NULL OR coalesce(uses_before, 0) + use_no <= maximum_uses
)
"""

_SHARED = f"""
divided AS (
    SELECT w.*, g.minor, sign(g.weights) * g.minor * w.weight AS part, abs(g.weights) AS whole
    FROM weighed w JOIN given g USING (discount_id, holder_id, billed_account_id, billed_on)
), floored AS (
    SELECT *, {FLOORED} FROM divided
), share AS (
    SELECT *, {largest_remainders("subscription_charge_id, service_start, row_no")}
           AS share_minor
    FROM floored
    WINDOW unit AS (PARTITION BY discount_id, holder_id, billed_account_id, billed_on)
), taken AS (
    SELECT row_no, discount_id, holder_id, percent, volume, kind AS discount_kind,
           {minor_units("share_minor", "minor_digits")} AS taken,
           {minor_units("minor", "minor_digits")} AS whole_amount,
           CAST(net AS DECIMAL(38,0)) * CAST(0.0001 AS DECIMAL(5,4)) AS net
    FROM share WHERE share_minor <> 0
)
"""

DISCOUNT_TAKEN = f"WITH {_WEIGHED}, {_WANTED}, {_SHARED} SELECT * FROM taken"
"""One round, to be formatted with its number as ``round``: row_no, discount_id, holder_id, percent,
volume, discount_kind, taken and whole_amount DECIMAL(20,4) (what is taken off the line, and off all
lines of the invoice), net (what the line came to before).

Needs what ``DISCOUNT_LINES`` needs and makes; ``discount_tier``; ``discount_use`` (discount_id,
holder_id, uses, amount) of earlier invoices; ``seniority`` (billed_account_id, place from 1: whose
turn it is when invoices of one day use up a discount). What earlier rounds took must stand in
``charged`` as rows of the kind discount."""
