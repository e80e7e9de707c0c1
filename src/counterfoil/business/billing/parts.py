"""The parts that a bill is split into: an invoice for each site or purchase order.

Whatever stands for a subscription goes to the part of its site or purchase order, with what applies
to it; the rest (commitments of an account, say) to the part without one. What prepaid balances pay
is laid to the parts in their order.
"""

from counterfoil.platform.engine.duck import Engine
from counterfoil.platform.records.unit_of_work import UnitOfWork

NAMED = """
       CASE any_value(p.split_by) WHEN 'site'
            THEN CAST(nullif(c.bill_part, '') AS BIGINT) END AS site_id,
       CASE any_value(p.split_by) WHEN 'purchase_order' THEN nullif(c.bill_part, '')
            ELSE any_value(p.purchase_order) END AS purchase_order"""
"""What an invoice says of its part, of rows ``c`` of one part and their profile ``p``."""

SNAPSHOT = """
       CASE WHEN any_value(p.split_by) = 'purchase_order' AND c.bill_part <> ''
            THEN CAST(json_merge_patch(any_value(p.snapshot),
                                       json_object('purchase_order', c.bill_part)) AS VARCHAR)
            ELSE any_value(p.snapshot) END"""
"""The snapshot of an invoice: the profile's, with the purchase order of its part."""

# Padded, so that the parts of sites stand in the order in which the sites were made.
_SHARED = """
UPDATE charged SET bill_part = f.part
FROM (SELECT c.rowid AS place,
             CASE p.split_by WHEN 'site' THEN lpad(CAST(s.site_id AS VARCHAR), 19, '0')
                  ELSE coalesce(s.purchase_order, p.purchase_order) END AS part
      FROM charged c
      JOIN profile p USING (billed_account_id)
      LEFT JOIN subscription_place s USING (subscription_id)
      WHERE p.split_by <> 'none') f
WHERE charged.rowid = f.place AND charged.bill_part IS NULL
"""

_DRAWN = """
CREATE TABLE drawn_part AS
WITH part AS (
    SELECT billed_account_id, coalesce(bill_part, '') AS part, sum(amount) AS amount
    FROM charged JOIN profile p USING (billed_account_id)
    WHERE p.split_by <> 'none' AND kind <> 'prepaid' GROUP BY ALL HAVING sum(amount) > 0
), laid AS (
    SELECT *, sum(amount) OVER (PARTITION BY billed_account_id ORDER BY part) AS upto FROM part
), drawn AS (
    SELECT row_no, billed_account_id, -amount AS amount,
           sum(-amount) OVER (PARTITION BY billed_account_id ORDER BY row_no) AS upto
    FROM charged WHERE kind = 'prepaid'
)
SELECT d.row_no, l.part, row_number() OVER (ORDER BY d.row_no, l.upto) AS nth,
       CAST(least(l.upto, d.upto) - greatest(l.upto - l.amount, d.upto - d.amount)
            AS DECIMAL(20,4)) AS taken,
       CAST(greatest(l.upto - l.amount - (d.upto - d.amount), 0) AS DECIMAL(20,4)) AS before
FROM drawn d JOIN laid l USING (billed_account_id)
WHERE least(l.upto, d.upto) > greatest(l.upto - l.amount, d.upto - d.amount)
"""

_DRAWN_ROWS = """
INSERT INTO charged BY NAME
SELECT c.* EXCLUDE (available) REPLACE (
    (SELECT max(row_no) FROM charged) + d.nth AS row_no, d.part AS bill_part,
    -d.taken AS list_amount, -d.taken AS exact_amount, -d.taken AS amount,
    CAST(to_json([struct_pack("grant" := c.steps->>'$[0].grant', kind := c.steps->>'$[0].kind',
        available := c.available - d.before,
        remaining := c.available - d.before - d.taken)]) AS VARCHAR) AS steps)
FROM (SELECT *, CAST(steps->>'$[0].available' AS DECIMAL(20,4)) AS available FROM charged) c
JOIN drawn_part d USING (row_no)
"""


def share_out(uow: UnitOfWork, engine: Engine) -> None:
    """Give every row of ``charged`` its ``bill_part``, where the profile of its account says to
    split; elsewhere it stays empty."""
    rows = engine.rows(
        "SELECT DISTINCT c.subscription_id FROM charged c JOIN profile p USING (billed_account_id) "
        "WHERE p.split_by <> 'none'"
    )
    if not rows:
        return
    places = uow.read_arrow(
        "SELECT id AS subscription_id, site_id, purchase_order FROM subscription "
        "WHERE id = ANY(:ids)",
        ids=[int(row[0]) for row in rows if row[0] is not None],
    )
    engine.register("subscription_place", places)
    engine.run(_SHARED)
    engine.run(_DRAWN)
    engine.run(_DRAWN_ROWS)
    engine.run("DELETE FROM charged WHERE row_no IN (SELECT row_no FROM drawn_part)")
