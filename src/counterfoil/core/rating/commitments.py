"""What commitments add to invoices, or take off them.

The statement runs once for every rank, from the narrowest commitments to the widest: what a
narrower one has added counts for the wider. It always compares the whole period with all that was
billed for it, net of discounts, so that running it again adds nothing, and what comes late takes
its share of an earlier true-up back.
"""

from counterfoil.core.money.exact_sql import half_up, minor_units, power_of_ten, raw

# A period that was billed and is no longer covered, because the end came sooner, is given back.
_TARGET = minor_units(
    half_up(
        f"({raw('k.amount', 4)} * (p.covered_end - p.covered_start))",
        f"((p.period_end - p.period_start) * {power_of_ten('k.minor_digits', 4)})",
    ),
    "k.minor_digits",
)

COMMITMENT_DUE = f"""
WITH covered AS (
    SELECT * FROM commitment_period
    UNION ALL
    SELECT DISTINCT b.commitment_id, b.subject_id, b.period_start, b.period_end, b.period_start,
           b.period_start
    FROM counted_before b ANTI JOIN commitment_period p
      USING (commitment_id, subject_id, period_start)
    WHERE b.commitment_id IS NOT NULL
), period AS (
    SELECT k.* EXCLUDE (amount), p.period_start, p.period_end, p.covered_start, p.covered_end,
           {_TARGET} AS target
    FROM commitment k JOIN covered p USING (commitment_id, subject_id)
    WHERE k.rank = {{rank}}
), line AS (
    SELECT c.account_id, c.subscription_id, c.rate_plan_id, c.product_id, c.counts_on, c.currency,
           c.amount, coalesce(k.rank, 0) AS rank, c.billed_on
    FROM charged c
    LEFT JOIN commitment k USING (commitment_id, subject_id)
    WHERE c.kind <> 'prepaid'
    UNION ALL
    SELECT b.account_id, b.subscription_id, b.rate_plan_id, b.product_id, b.counts_on, b.currency,
           b.amount, coalesce(k.rank, 0), DATE '{{billing_date}}'
    FROM counted_before b LEFT JOIN commitment k USING (commitment_id, subject_id)
), counted AS (
    SELECT p.commitment_id, p.subject_id, p.period_start, l.billed_on, sum(l.amount) AS amount
    FROM period p
    JOIN commitment_account m USING (commitment_id, subject_id)
    JOIN line l ON l.account_id = m.account_id AND l.currency = p.currency
     AND l.rank < p.rank
     AND l.counts_on >= p.covered_start AND l.counts_on < p.covered_end
     AND (p.subject_id = 0 OR l.subscription_id = p.subject_id)
     AND (p.product_id IS NULL OR l.product_id = p.product_id)
     AND (p.rate_plan_id IS NULL OR l.rate_plan_id = p.rate_plan_id)
    GROUP BY p.commitment_id, p.subject_id, p.period_start, l.billed_on
    UNION ALL
    SELECT commitment_id, subject_id, period_start, {{closing}}, 0 FROM period
    WHERE {{closing}} <= DATE '{{billing_date}}'
), by_then AS (
    SELECT commitment_id, subject_id, period_start, billed_on, sum(sum(amount)) OVER (
               PARTITION BY commitment_id, subject_id, period_start ORDER BY billed_on) AS amount
    FROM counted GROUP BY commitment_id, subject_id, period_start, billed_on
), before AS (
    SELECT commitment_id, subject_id, period_start, sum(amount) AS amount, sum(parts) AS parts
    FROM counted_before WHERE commitment_id IS NOT NULL
    GROUP BY commitment_id, subject_id, period_start
), due AS (
    SELECT p.*, c.billed_on, CAST(c.amount AS DECIMAL(20,4)) AS counted,
           coalesce(b.amount, 0) AS before, CAST(coalesce(b.parts, 0) AS BIGINT) AS parts,
           CASE WHEN p.kind = 'maximum' THEN least(p.target - c.amount, 0)
                WHEN p.covered_end <= c.billed_on THEN greatest(p.target - c.amount, 0)
                ELSE coalesce(b.amount, 0) END AS wanted
    FROM period p
    JOIN by_then c USING (commitment_id, subject_id, period_start)
    LEFT JOIN before b USING (commitment_id, subject_id, period_start)
)
SELECT *, CAST(wanted - lag(wanted, 1, before) OVER (
           PARTITION BY commitment_id, subject_id, period_start ORDER BY billed_on)
           AS DECIMAL(20,4)) AS amount
FROM due QUALIFY amount <> 0
"""
"""One rank, to be formatted with ``rank``, ``billing_date`` and ``closing``, the day (SQL over
``period``) on which periods are looked at though nothing of them is billed: a row for every period
and day on which something is billed or given back, with its ``amount``, ``target`` (for the days
covered), ``counted`` (what was billed for the period by then) and ``parts`` (how often it was
billed before).

Needs ``charged``, with ``billed_on``, the date of the invoice, beside; ``commitment``
(commitment_id, subject_id, kind, amount DECIMAL(20,4), currency, minor_digits, rank, product_id,
rate_plan_id and whatever the caller wants back); ``commitment_account`` (commitment_id, subject_id,
account_id: whose lines count); ``commitment_period`` (commitment_id, subject_id, period_start,
period_end, covered_start, covered_end); ``counted_before`` (account_id, subscription_id,
rate_plan_id, product_id, counts_on, currency, commitment_id, subject_id, period_start, period_end,
amount, parts): what earlier invoices billed."""
