"""One PostgreSQL server for each worker; an empty organisation for each test that asks."""

import importlib
import multiprocessing.util
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import argon2
import hypothesis
import pytest
from tests.furnishing import Furnishings
from tests.memory import quick_folder

from counterfoil.bootstrap import (
    Organisation,
    Settings,
    database_server,
    scratch_organisation,
)
from counterfoil.platform.access import passwords
from counterfoil.platform.engine.choice import open_runner
from counterfoil.platform.engine.runner import Runner
from counterfoil.platform.engine.spark import SparkTasks, spark_missing
from counterfoil.platform.engine.spark_cluster import Cluster, spark_cluster
from counterfoil.platform.records import organisation_schema, postgres
from counterfoil.platform.records.database import Database

# A busy machine is no reason to fail: pytest's own time limit stops what hangs.
hypothesis.settings.register_profile("counterfoil", deadline=None)
hypothesis.settings.load_profile("counterfoil")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked ``last`` look at what others have left for them; before them come the groups,
    which end the suite beside each other, each on a worker of its own."""

    def turn(item: pytest.Item) -> tuple[bool, bool]:
        last = item.get_closest_marker("last") is not None
        return last or item.get_closest_marker("xdist_group") is not None, last

    items.sort(key=turn)


@contextmanager
def patched(module: ModuleType, name: str, value: object) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def _passwords_of_tests() -> Iterator[None]:
    """Passwords cost a guesser next to nothing here, and hundreds of sign-ins as little."""
    hasher = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_HASHER", hasher)
        patch.setattr(passwords, "_NOBODY", hasher.hash(""))
        yield


@pytest.fixture(scope="session")
def data_folder() -> Iterator[Path]:
    """An empty data folder.

    Each test creates and drops a database of some 450 files: an ext4 without a journal, as many
    virtual machines have it, becomes ten times slower at that with every run.
    """
    with quick_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def server(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a running server: embedded in a data folder, or COUNTERFOIL_DATABASE_URL.

    Its URL is named in both cases: an organisation need not look each time whether the server runs.
    """
    url = os.environ.get("COUNTERFOIL_DATABASE_URL", "")
    settings = Settings.from_environment(
        {"COUNTERFOIL_HOME": str(data_folder), "COUNTERFOIL_DATABASE_URL": url}
    )
    with ExitStack() as running:
        with pytest.MonkeyPatch.context() as patch:
            # Nothing of it outlives the machine. Servers that tests start themselves are durable.
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                patch.setitem(postgres._SETTINGS, name, "off")
            address = running.enter_context(database_server(settings))
        if url == "":
            # To copy files takes two thirds of what it takes to copy through the log.
            running.enter_context(patched(organisation_schema, "_STRATEGY", "FILE_COPY"))
        # Homes of scratch organisations lie with their databases. Pytest, and what Python keeps
        # until the process ends, have their own place by then.
        tmp_path_factory.getbasetemp()
        multiprocessing.util.get_temp_dir()
        homes = data_folder / "homes"
        homes.mkdir()
        running.enter_context(patched(tempfile, "tempdir", str(homes)))
        yield replace(settings, database_url=address)


@pytest.fixture(scope="session")
def furnishings(server: Settings) -> Iterator[Furnishings]:
    """Organisations that are furnished once and copied for each test that asks."""
    made = Furnishings(server)
    yield made
    made.close()


@pytest.fixture
def organisation(server: Settings) -> Iterator[Organisation]:
    """An organisation without any record, on a database of its own."""
    with scratch_organisation(server) as scratch:
        yield scratch


@pytest.fixture
def database(organisation: Organisation) -> Database:
    """The database of the scratch organisation."""
    return organisation.database


class SparkPlace:
    """Where Spark can be used: one application at a time, on a cluster that tests may damage and
    that is started when somebody asks for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._words = ""
        self._open = ExitStack()
        self._clusters = ExitStack()

    @cached_property
    def cluster(self) -> Cluster:
        return self._clusters.enter_context(spark_cluster(2))

    def local(self) -> Runner:
        """Spark in one Java machine."""
        return self._runner("local[2]")

    def cluster_of_two(self) -> Runner:
        """The cluster, with two workers alive."""
        self.cluster.fill(2)
        return self._runner(self.cluster.master)

    def session(self) -> Any:
        """A session for Spark SQL, in one Java machine."""
        runner = self.local()
        assert isinstance(runner, SparkTasks)
        warehouse = {"spark.sql.warehouse.dir": str(self.folder / "warehouse")}
        return importlib.import_module("pyspark.sql").SparkSession(
            runner.context(), options=warehouse
        )

    def close(self) -> None:
        self._open.close()
        self._clusters.close()

    def _runner(self, words: str) -> Runner:
        # An application takes seconds to start, so it goes on until another one is asked for.
        if words != self._words:
            self._open.close()
            self._words, self._made = words, self._open.enter_context(open_runner(words))
        return self._made


# Two cores are shared by all of the suite: what Spark keeps for itself is kept small.
_SPARK_DEFAULTS = """
spark.driver.memory            1500m
spark.executor.memory          512m
spark.executor.extraJavaOptions -XX:+UseSerialGC -XX:TieredStopAtLevel=1
spark.driver.extraJavaOptions   -XX:+UseSerialGC -XX:TieredStopAtLevel=1
spark.sql.shuffle.partitions    1
spark.sql.adaptive.enabled      false
spark.sql.codegen.wholeStage    false
spark.sql.codegen.factoryMode   NO_CODEGEN
"""


@pytest.fixture(scope="session")
def spark_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkPlace]:
    """Spark, or a skipped test where there is none; tests that use it are of one xdist group."""
    missing = spark_missing()
    if missing is not None:
        pytest.skip(missing.message)
    folder = tmp_path_factory.mktemp("spark")
    (folder / "spark-defaults.conf").write_text(_SPARK_DEFAULTS)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SPARK_CONF_DIR", str(folder))
        # Kernels of the tests are found where the tests are.
        environment.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
        place = SparkPlace(folder)
        yield place
        place.close()
