"""Bills one batch of accounts, in a process of its own."""

import sys
from datetime import UTC, date, datetime
from pathlib import Path

from counterfoil.bootstrap import CATALOGUE, CHECKS
from counterfoil.business.billing import commands
from counterfoil.business.usage.store import UsageStore
from counterfoil.platform.engine.runner import IN_THIS_PROCESS
from counterfoil.platform.records.database import Database


def main(url: str, folder: str, day: str, run: str, *accounts: str) -> None:
    """Bill these accounts (ids) for the day, as a part of a bill run."""
    order = commands.BatchOrder(
        tuple(int(account) for account in accounts),
        date.fromisoformat(day),
        int(run),
        usage_seen=0,
        finalize=True,
        now=datetime(2024, 6, 1, tzinfo=UTC),
        threads=1,
    )
    database = Database(url, CATALOGUE, CHECKS)
    commands._bill_batch(database, UsageStore(Path(folder)), IN_THIS_PROCESS, order)
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
