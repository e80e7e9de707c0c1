"""What incentives there are, read for commands and screens."""

from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_LISTED = """
SELECT 'discount' AS entity, d.external_id, d.name, d.kind,
       coalesce(d.percent, d.amount) AS value, d.currency, d.code,
       (SELECT string_agg(a.external_id, ' ' ORDER BY a.external_id)
        FROM discount_holder h JOIN account a ON a.id = h.account_id
        WHERE h.discount_id = d.id) AS owner,
       d.valid_from AS starts, d.valid_to AS ends
FROM discount d
UNION ALL
SELECT 'commitment', c.external_id, c.name, c.kind, c.amount, c.currency, NULL,
       coalesce(c.subscription_external_id, a.external_id, p.external_id), c.start_date, c.end_date
FROM commitment c
LEFT JOIN account a ON a.id = c.account_id LEFT JOIN rate_plan p ON p.id = c.rate_plan_id
UNION ALL
SELECT 'prepaid_grant', g.external_id, g.name, g.kind, g.amount, g.currency, NULL,
       a.external_id, g.start_date, g.expiry_date
FROM prepaid_grant g JOIN account a ON a.id = g.account_id
UNION ALL
SELECT 'entitlement', e.external_id, e.name, e.pooled_over, e.quantity, NULL, NULL,
       coalesce(e.subscription_external_id, a.external_id, p.external_id), e.valid_from, e.valid_to
FROM entitlement e
LEFT JOIN account a ON a.id = e.account_id LEFT JOIN rate_plan p ON p.id = e.rate_plan_id
UNION ALL
SELECT 'spending_threshold', t.external_id, t.name, t.scope, t.amount, t.currency, NULL,
       a.external_id, t.start_date, t.end_date
FROM spending_threshold t JOIN account a ON a.id = t.account_id
ORDER BY 1, 2
"""


def list_incentives(uow: UnitOfWork) -> list[Record]:
    """All discounts, commitments, grants, entitlements and thresholds: entity, external_id, name,
    kind, value (percent, amount or quantity), currency, code, owner (external ids), starts and
    ends."""
    return uow.query(_LISTED)
