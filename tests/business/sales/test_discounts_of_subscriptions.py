"""A discount may be for single subscriptions; it goes along when they are transferred."""

from decimal import Decimal

from tests.business.sales.conftest import APRIL, START, Shop

from counterfoil.business.incentives.commands import save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.business.subscriptions.amending import Change
from counterfoil.business.subscriptions.amendments import amend_subscriptions

DISCOUNTS = """
discounts:
  - {id: ten, name: Ten off, percent: 10, accounts: [ACME], subscriptions: [S-1, S-9]}
"""


def discounted(shop: Shop) -> list[tuple[object, ...]]:
    with shop.work() as uow:
        rows = uow.query(
            "SELECT a.external_id, s.external_id AS subscription, r.amount FROM rated_charge r"
            " JOIN invoice i ON i.id = r.invoice_id JOIN account a ON a.id = i.account_id"
            " JOIN subscription_charge c ON c.id = r.subscription_charge_id"
            " JOIN subscription s ON s.id = c.subscription_id"
            " WHERE r.kind = 'discount' ORDER BY r.id"
        )
    return [tuple(row.values()) for row in rows]


def test_a_discount_of_a_subscription_leaves_others_alone_and_goes_along(shop: Shop) -> None:
    incentives, problems = parse_incentives(DISCOUNTS, "incentives.yaml")
    assert problems == []
    with shop.work() as uow:
        save_incentives(uow, incentives)
        assert save_incentives(uow, incentives)["discounts_unchanged"] == 1
    first = shop.subscribe("S-1", "ACME", "support", START)
    shop.subscribe("S-2", "ACME", "support", START)
    shop.bill(APRIL)
    assert discounted(shop) == [("ACME", "S-1", Decimal("-3.33"))]
    shop.open_account("OTHER")
    with shop.work() as uow:
        move = Change(
            subscription=first, kind="transfer", day=APRIL, account="OTHER", successor="S-1B"
        )
        amend_subscriptions(uow, [move])
    shop.subscribe("S-3", "OTHER", "support", APRIL)
    shop.bill(APRIL.replace(month=5))
    assert discounted(shop)[1:] == [("OTHER", "S-1B", Decimal("-3.33"))]
