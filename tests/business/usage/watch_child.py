"""A watcher in a process of its own that dies when it has looked. Arguments: URL, usage folder."""

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from counterfoil.bootstrap import CATALOGUE, CHECKS
from counterfoil.business.usage.store import UsageStore
from counterfoil.business.usage.watching import UsageWatcher, watch_usage
from counterfoil.platform.records.database import Database


def look(_database: Any, _store: Any, subscription_ids: Any, _now: Any) -> None:
    print(list(subscription_ids), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    watch_usage(
        Database(sys.argv[1], CATALOGUE, CHECKS),
        UsageStore(Path(sys.argv[2])),
        UsageWatcher("thresholds", look),
        now=datetime(2026, 8, 5, 12, 0, tzinfo=UTC),
    )
