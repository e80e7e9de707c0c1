"""What is told as usage arrives: thresholds of what is included, and of what is spent.

One watcher looks for both, so that what has arrived is read once.
"""

from collections.abc import Sequence
from datetime import datetime

from counterfoil.business.billing.included import check_included
from counterfoil.business.billing.spending import check_spending
from counterfoil.business.usage.store import UsageStore
from counterfoil.platform.records.database import Database


def check_thresholds(
    database: Database, store: UsageStore, subscriptions: Sequence[int], now: datetime
) -> None:
    """Tell of all thresholds that usage of these subscriptions (ids) has reached."""
    check_included(database, store, subscriptions, now)
    check_spending(database, store, subscriptions, now)
