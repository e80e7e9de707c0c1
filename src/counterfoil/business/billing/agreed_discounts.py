"""What the agreed prices of subscriptions take off the prices that would hold without them."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from counterfoil.business.billing.prices_in_force import prices_in_force
from counterfoil.business.products.agreed_prices import percent_off
from counterfoil.platform.records.unit_of_work import UnitOfWork

_AGREED = """
SELECT s.id AS subscription_id, p.id AS price_id, p.charge_id, t.unit_amount
FROM unnest(CAST(:ids AS bigint[]), CAST(:days AS date[])) AS given(id, day)
JOIN subscription s ON s.id = given.id
JOIN price p ON p.layer = 'subscription' AND p.subscription_external_id = s.external_id
JOIN price_tier t ON t.price_id = p.id
WHERE (p.valid_from IS NULL OR p.valid_from <= given.day)
  AND (p.valid_to IS NULL OR p.valid_to > given.day)
"""


def agreed_discounts(uow: UnitOfWork, days: Mapping[int, date]) -> dict[int, Decimal]:
    """By subscription (id) the greatest percentage that its agreed prices take off, each on a day;
    none of those without an agreed price.

    A charge that would cost nothing without, or that has no price but the agreed one, counts
    for 0. A fixed number of statements.
    """
    agreed = uow.query(_AGREED, ids=list(days), days=list(days.values()))
    if not agreed:
        return {}
    with uow.rehearsed():
        prices = sorted({row["price_id"] for row in agreed})
        uow.execute("DELETE FROM price_tier WHERE price_id = ANY(:prices)", prices=prices)
        uow.execute("DELETE FROM price WHERE id = ANY(:prices)", prices=prices)
        asked = sorted({row["subscription_id"] for row in agreed})
        found = prices_in_force(uow, [(one, days[one], None) for one in asked], once=True)
    others = {(one.subscription_id, one.charge_id): one.terms for one in found}
    greatest: dict[int, Decimal] = {}
    for row in agreed:
        subscription = row["subscription_id"]
        terms = others.get((subscription, row["charge_id"]))
        percent = Decimal(0) if terms is None else percent_off(terms, row["unit_amount"])
        greatest[subscription] = max(percent, greatest.get(subscription, Decimal(0)))
    return greatest
