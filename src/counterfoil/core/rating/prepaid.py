"""What invoices draw from prepaid grants.

Rounds, as with discounts: in a round every invoice draws on its next grant. Where several invoices
draw on the same one, they do so in order of their accounts, and no cent is drawn twice.
"""

PREPAID_DRAWN = """
WITH owed AS (
    SELECT billed_account_id, sum(amount) AS amount FROM charged
    GROUP BY billed_account_id HAVING sum(amount) > 0
), remaining AS (
    SELECT g.grant_id, g.remaining + coalesce(c.amount, 0) AS remaining
    FROM prepaid_grant g
    LEFT JOIN (SELECT prepaid_grant_id, sum(amount) AS amount FROM charged
               WHERE kind = 'prepaid' GROUP BY prepaid_grant_id) c
      ON c.prepaid_grant_id = g.grant_id
), asked AS (
    SELECT a.billed_account_id, a.grant_id, o.amount AS owed, r.remaining,
           coalesce(sum(o.amount) OVER (PARTITION BY a.grant_id ORDER BY a.billed_account_id
                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
    FROM grant_account a
    JOIN owed o USING (billed_account_id)
    JOIN remaining r USING (grant_id)
    WHERE a.order_no = {round}
)
SELECT billed_account_id, grant_id,
       CAST(remaining - before AS DECIMAL(20,4)) AS available,
       CAST(least(owed, remaining - before) AS DECIMAL(20,4)) AS drawn
FROM asked WHERE remaining > before
"""
"""One round, to be formatted with its number as ``round``: billed_account_id, grant_id, available,
drawn. Needs ``charged``; ``prepaid_grant`` (grant_id, remaining: before this computation);
``grant_account`` (billed_account_id, grant_id, order_no from 1)."""
