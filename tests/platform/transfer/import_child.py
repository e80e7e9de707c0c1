"""An import in a process of its own that kills itself while the third chunk is being saved.

Arguments: database URL, file.
"""

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from counterfoil.bootstrap import CATALOGUE, CHECKS
from counterfoil.platform.records.database import Database
from counterfoil.platform.transfer import importing

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def main(url: str, file: str) -> None:
    saved = importing.write_each
    chunks = 0

    def dying(*arguments: Any) -> Any:
        nonlocal chunks
        chunks += 1
        outcomes = saved(*arguments)
        if chunks == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return outcomes

    importing.write_each = dying
    database = Database(url, CATALOGUE, CHECKS)
    importing.import_records(database, Path(file), importing.Import(entity="account"), now=NOW)


if __name__ == "__main__":
    main(*sys.argv[1:])
