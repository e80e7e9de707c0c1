"""What invoices draw from prepaid grants.

Rounds, as with discounts: a grant has its round after all that are drawn before it, so that in each
every invoice draws on at most one. Where several invoices draw on the same grant, they do so in
order of their dates and accounts, and no cent is drawn twice. An invoice is a billed account and
the date it is billed on.
"""

from counterfoil.core.money.exact_sql import (
    FLOORED,
    largest_remainders,
    minor_units,
    power_of_ten,
    raw,
)

PREPAID_DRAWN = """
WITH owed AS (
    SELECT billed_account_id, billed_on, sum(amount) AS amount FROM charged
    GROUP BY billed_account_id, billed_on HAVING sum(amount) > 0
), remaining AS (
    SELECT g.grant_id, g.remaining + coalesce(c.amount, 0) AS remaining
    FROM prepaid_grant g
    LEFT JOIN (SELECT prepaid_grant_id, sum(amount) AS amount FROM charged
               WHERE kind = 'prepaid' GROUP BY prepaid_grant_id) c
      ON c.prepaid_grant_id = g.grant_id
), asked AS (
    SELECT a.billed_account_id, o.billed_on, a.grant_id, o.amount AS owed, r.remaining,
           coalesce(sum(o.amount) OVER (
               PARTITION BY a.grant_id ORDER BY o.billed_on, a.billed_account_id
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
    FROM grant_account a
    JOIN owed o ON o.billed_account_id = a.billed_account_id AND o.billed_on >= a.start_date
     AND (a.expiry_date IS NULL OR o.billed_on < a.expiry_date)
    JOIN remaining r USING (grant_id)
    WHERE a.round_no = {round}
)
SELECT billed_account_id, billed_on, grant_id,
       CAST(remaining - before AS DECIMAL(20,4)) AS available,
       CAST(least(owed, remaining - before) AS DECIMAL(20,4)) AS drawn
FROM asked WHERE remaining > before
"""
"""One round, to be formatted with its number as ``round``: billed_account_id, billed_on, grant_id,
available, drawn. Needs ``charged``, with ``billed_on`` beside; ``prepaid_grant`` (grant_id,
remaining: before this computation); ``grant_account`` (billed_account_id, grant_id, start_date,
expiry_date, round_no from 1)."""

PREPAID_SHARED = f"""
WITH invoice AS (
    SELECT billed_account_id, billed_on, -sum(amount) FILTER (kind = 'prepaid') AS drawn,
           sum(amount) FILTER (kind <> 'prepaid') AS total, max(minor_digits) AS minor_digits
    FROM charged GROUP BY billed_account_id, billed_on
), line AS (
    SELECT billed_account_id, billed_on, subscription_charge_id, commitment_id, subject_id,
           cycle_start, sum(amount) AS amount
    FROM charged WHERE kind <> 'prepaid' GROUP BY ALL
), divided AS (
    SELECT l.*, i.minor_digits,
           {raw("i.drawn", 4)} // {power_of_ten("i.minor_digits", 4)} AS minor,
           minor * {raw("l.amount", 4)} AS part, {raw("i.total", 4)} AS whole
    FROM line l JOIN invoice i USING (billed_account_id, billed_on) WHERE i.drawn > 0
), floored AS (
    SELECT *, {FLOORED} FROM divided
), share AS (
    SELECT *, {largest_remainders("subscription_charge_id, commitment_id, subject_id, cycle_start")}
           AS share_minor
    FROM floored WINDOW unit AS (PARTITION BY billed_account_id, billed_on)
)
SELECT subscription_charge_id, commitment_id, subject_id, cycle_start,
       {minor_units("share_minor", "minor_digits")} AS paid
FROM share WHERE share_minor <> 0
"""
"""What of the lines of invoices is ``paid`` by what they draw, spread by largest remainder so that
the parts add up to it. Needs ``charged`` with what was drawn in it."""
