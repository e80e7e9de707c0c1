"""One PostgreSQL server for the whole run; an empty organisation for each test that asks."""

import os
from collections.abc import Iterator

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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a running server: embedded in a temporary home, or COUNTERFOIL_DATABASE_URL."""
    home = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # All workers of a run share the folder above, and with it one server.
        home = home.parent
    url = os.environ.get("COUNTERFOIL_DATABASE_URL", "")
    environment = {"COUNTERFOIL_HOME": str(home / "home"), "COUNTERFOIL_DATABASE_URL": url}
    settings = Settings.from_environment(environment)
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
