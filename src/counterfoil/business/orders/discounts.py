"""What the agreed prices of order lines take off the prices that would hold without them."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

from counterfoil.business.billing.agreed_discounts import agreed_discounts
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_BEGUN = """
SELECT id, order_id, kind, prices, subscription_id, billed_from FROM order_line
WHERE id = ANY(:ids) ORDER BY order_id, position
"""


def sets_prices(kind: str, prices: Mapping[str, object] | None) -> bool:
    """Whether a line gives its subscription prices of its own that last."""
    return bool(prices) or kind == "change_price"


def read_discounts(uow: UnitOfWork, line_ids: Sequence[int]) -> dict[tuple[int, int], Decimal]:
    """By order and line (ids), of lines that were begun and set prices, what these take off at
    most, in percent, on the first day that is billed at them.

    A fixed number of queries, unless an order sets prices of a subscription several times.
    """
    left = [
        row
        for row in uow.query(_BEGUN, ids=list(line_ids))
        if sets_prices(row["kind"], row["prices"])
    ]
    found: dict[tuple[int, int], Decimal] = {}
    while left:
        now: dict[int, Record] = {}
        for row in left:
            now.setdefault(row["subscription_id"], row)
        days: dict[int, date] = {one: row["billed_from"] for one, row in now.items()}
        percents = agreed_discounts(uow, days)
        for subscription, row in now.items():
            found[row["order_id"], row["id"]] = percents.get(subscription, Decimal(0))
        chosen = {row["id"] for row in now.values()}
        left = [row for row in left if row["id"] not in chosen]
    return found
