"""A bill run in a process of its own that kills itself at a chosen moment.

Arguments: database URL, usage folder, billing date, workers, moment. Moments: ``never``,
``batch N`` (after the Nth batch was committed), ``saving N`` (inside the transaction of the Nth
batch, invoices written and not committed), ``numbering N`` (numbers given and not committed).
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from counterfoil.bootstrap import CATALOGUE, CHECKS
from counterfoil.business.billing import commands
from counterfoil.business.usage.store import UsageStore
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

BATCH_ACCOUNTS = 25


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(count: int, action: Callable[..., Any]) -> Callable[..., Any]:
    """``action``, after whose ``count``th call the process dies."""
    calls = 0

    def counted(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        result = action(*arguments, **more)
        calls += 1
        if calls == count:
            die()
        return result

    return counted


def main(url: str, folder: str, day: str, workers: str, moment: str) -> None:
    name, _, number = moment.partition(" ")
    progress = None
    commands.BATCH_ACCOUNTS = BATCH_ACCOUNTS
    if name == "batch":
        progress = after(int(number), lambda _done, _total: None)
    elif name == "saving":
        commands.save_problems = after(int(number) + 1, commands.save_problems)
    elif name == "numbering":
        UnitOfWork.next_numbers = after(int(number), UnitOfWork.next_numbers)  # type: ignore[method-assign]
    commands.run_bills(
        Database(url, CATALOGUE, CHECKS),
        UsageStore(Path(folder)),
        date.fromisoformat(day),
        now=datetime(2024, 6, 1, tzinfo=UTC),
        workers=int(workers),
        progress=progress,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
