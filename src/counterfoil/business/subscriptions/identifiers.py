"""Usage identifiers that would stand for two subscriptions on one day."""

from collections.abc import Sequence
from typing import cast

from counterfoil.core.problems import Problem
from counterfoil.platform.records.unit_of_work import UnitOfWork

# Of two that begin service under the same identifier at the same time the second sees the first.
_ONE_BY_ONE = """
SELECT pg_advisory_xact_lock(hashtext('usage identifier'), k.place)
FROM (SELECT DISTINCT hashtext(identifier) & 4095 AS place FROM usage_identifier
      WHERE subscription_id = ANY(:ids) ORDER BY 1) k
"""

_TAKEN = """
SELECT i.subscription_id, i.identifier, min(o.external_id) AS other
FROM usage_identifier i
JOIN usage_identifier j ON j.identifier = i.identifier AND j.subscription_id <> i.subscription_id
JOIN subscription o ON o.id = j.subscription_id
JOIN subscription_charge a ON a.subscription_id = i.subscription_id
JOIN charge c ON c.id = a.charge_id AND c.kind = 'usage'
JOIN subscription_charge b ON b.subscription_id = j.subscription_id
JOIN charge d ON d.id = b.charge_id AND d.kind = 'usage' AND d.meter_id = c.meter_id
WHERE i.subscription_id = ANY(:ids)
  AND (a.end_date IS NULL OR a.end_date > greatest(a.start_date, b.start_date))
  AND (b.end_date IS NULL OR b.end_date > greatest(a.start_date, b.start_date))
GROUP BY i.subscription_id, i.identifier ORDER BY i.subscription_id, i.identifier
"""


def find_taken_identifiers(uow: UnitOfWork, ids: Sequence[int]) -> list[Problem]:
    """Identifiers by which usage of one meter would belong to two subscriptions at a time: it
    would be rejected as ambiguous."""
    uow.query(_ONE_BY_ONE, ids=list(ids))
    places = {subscription_id: place for place, subscription_id in enumerate(ids, start=1)}
    return [
        Problem(
            "identifier_taken",
            f"{row['identifier']!r} already means subscription {row['other']} on the same days "
            "and for the same meter",
            "identifiers",
            line=places[cast("int", row["subscription_id"])] if len(ids) > 1 else None,
        )
        for row in uow.query(_TAKEN, ids=list(ids))
    ]
