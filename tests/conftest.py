"""One PostgreSQL server for each worker; an empty organisation for each test that asks."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from counterfoil.bootstrap import (
    Organisation,
    Settings,
    database_server,
    scratch_organisation,
)
from counterfoil.platform.records.database import Database

# A busy machine is no reason to fail: pytest's own time limit stops what hangs.
hypothesis.settings.register_profile("counterfoil", deadline=None)
hypothesis.settings.load_profile("counterfoil")


MEMORY = Path("/dev/shm")
ENOUGH_MEMORY = 4 * 1024**3


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty data folder, in memory where there is enough of it.

    Each test creates and drops a database of some 450 files: an ext4 without a journal, as many
    virtual machines have it, becomes ten times slower at that with every run.
    """
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ENOUGH_MEMORY:
        with tempfile.TemporaryDirectory(prefix="counterfoil-", dir=MEMORY) as folder:
            yield Path(folder)
    else:
        yield tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def server(data_folder: Path) -> Iterator[Settings]:
    """Settings of a running server: embedded in a data folder, or COUNTERFOIL_DATABASE_URL."""
    url = os.environ.get("COUNTERFOIL_DATABASE_URL", "")
    settings = Settings.from_environment(
        {"COUNTERFOIL_HOME": str(data_folder), "COUNTERFOIL_DATABASE_URL": url}
    )
    with database_server(settings):
        yield settings


@pytest.fixture
def organisation(server: Settings) -> Iterator[Organisation]:
    """An organisation without any record, on a database of its own."""
    with scratch_organisation(server) as scratch:
        yield scratch


@pytest.fixture
def database(organisation: Organisation) -> Database:
    """The database of the scratch organisation."""
    return organisation.database
