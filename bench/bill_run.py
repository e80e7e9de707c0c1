"""One bill run in a process of its own, so that its memory can be seen apart from all else.

``python -m bench.bill_run URL FOLDER WORKERS`` bills the company of ``bench.company`` and prints
its seconds and counts as JSON.
"""

import json
import sys
import time
from pathlib import Path

from bench.company import BILLING_DATE, NOW
from counterfoil.bootstrap import CATALOGUE, CHECKS
from counterfoil.business.billing.commands import run_bills
from counterfoil.business.usage.store import UsageStore
from counterfoil.platform.records.database import Database


def main() -> None:
    """Bill everything that is due."""
    url, folder, workers = sys.argv[1:]
    database = Database(url, CATALOGUE, CHECKS)
    store = UsageStore(Path(folder))
    begin = time.perf_counter()
    summary = run_bills(database, store, BILLING_DATE, now=NOW, workers=int(workers))
    seconds = time.perf_counter() - begin
    database.close()
    counts = {"invoices": summary.invoices, "lines": summary.lines, "skipped": summary.problems}
    print(json.dumps({"seconds": seconds, **counts}))


if __name__ == "__main__":
    main()
