"""Folders in memory: what a database writes here has to outlive processes, not the machine."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")
ENOUGH_MEMORY = 4 * 1024**3


@contextmanager
def quick_folder() -> Iterator[Path]:
    """An empty folder, in memory where there is enough of it, which is gone afterwards.

    Its path is short enough for a socket, other than that of pytest's own folders.
    """
    enough = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ENOUGH_MEMORY
    with tempfile.TemporaryDirectory(prefix="cf-", dir=MEMORY if enough else None) as folder:
        yield Path(folder)
