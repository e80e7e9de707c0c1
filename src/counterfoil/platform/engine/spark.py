"""Works as tasks of Apache Spark: in one Java machine, or on a standalone cluster.

Spark brings the works to the workers, tries lost ones again and gathers the results; each task
runs our kernel in a Python of the worker's machine. Nothing of Spark's own computing is used, so
a task computes what it would compute here. See docs/spark.md for what a cluster needs.
"""

import importlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.engine.runner import ATTEMPTS, Key, Result, Work, answer, attempt

if TYPE_CHECKING:
    from pyspark import SparkContext

OLDEST_JAVA = 17
INSTALL_JAVA = (
    f"install Java {OLDEST_JAVA} or newer, on Debian and Ubuntu with "
    "`sudo apt-get install openjdk-17-jre-headless`, or name it in JAVA_HOME"
)
INSTALL_PYSPARK = (
    "install it beside Counterfoil with `pip install 'counterfoil[spark]'`, "
    "in a checkout with `make spark`"
)

_PACKAGE_ROOT = Path(__file__).parents[3]
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SECONDS_TO_CONNECT = 5


def java_version() -> int | None:
    """Major version of the Java that Spark would start, or None without one."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin/java") if home else shutil.which("java")
    if java is None or not Path(java).exists():
        return None
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', told)
    return int(found[1]) if found else None


def spark_missing() -> Problem | None:
    """What is not there that Spark needs, and how to get it; None when nothing is missing."""
    if not _pyspark_is_there():
        return Problem("no_pyspark", f"Spark's Python package is missing: {INSTALL_PYSPARK}")
    java = java_version()
    if java is None or java < OLDEST_JAVA:
        found = "there is none" if java is None else f"Java {java} was found"
        return Problem("no_java", f"Spark needs Java, and {found}: {INSTALL_JAVA}")
    return None


def _pyspark_is_there() -> bool:
    return importlib.util.find_spec("pyspark") is not None


class SparkTasks:
    """One Spark application, started when first needed; one work is one task.

    ``master`` is ``local[N]`` or ``spark://host:port``. There can be one application at a time
    in a process. Everything else that a site wants to set stands in its own
    ``spark-defaults.conf`` (SPARK_CONF_DIR).
    """

    splits = True

    def __init__(self, master: str) -> None:
        self.master = master
        self._context: SparkContext | None = None
        self._lock = threading.Lock()

    def run(
        self, kernel: Callable[[Work], Result], works: Mapping[Key, Work]
    ) -> Iterator[tuple[Key, Result]]:
        """See :class:`counterfoil.platform.engine.runner.Runner`."""
        if not works:
            return
        context = self.context()
        # The second stands for the first once somebody in this process has used Spark SQL.
        faults_of_spark = (
            importlib.import_module("py4j.protocol").Py4JError,
            importlib.import_module("pyspark.errors").PySparkException,
        )
        try:
            tasks = context.parallelize(list(works.items()), len(works))
            outcomes = tasks.map(partial(attempt, kernel)).collect()
        except faults_of_spark as fault:
            thrown = getattr(fault, "java_exception", None)
            raise self._refusal(str(thrown.getMessage() if thrown else fault)) from fault
        for outcome in outcomes:
            yield answer(outcome)

    def context(self) -> "SparkContext":
        """The application's context, started if it is not running; refuses (503) without Spark."""
        with self._lock:
            stopped = self._context is not None and self._context._jsc.sc().isStopped()  # noqa: SLF001
            if self._context is None or stopped:
                self._context = self._start()
            return self._context

    def close(self) -> None:
        """End the application; its executors go, the cluster stays."""
        with self._lock:
            context, self._context = self._context, None
        if context is not None:
            context.stop()

    def _start(self) -> "SparkContext":
        missing = spark_missing()
        if missing is not None:
            raise Refused(missing, status=503)
        if self.master.startswith("spark://"):
            self._find_master()
        pyspark = importlib.import_module("pyspark")
        settings = pyspark.SparkConf(loadDefaults=False).setAll(list(self._settings().items()))
        java = _JavaMachine.started(settings)
        try:
            context = pyspark.SparkContext(conf=settings, gateway=java.gateway)
        except Exception as fault:
            raise self._refusal(f"{fault}\n{java.last_words()}") from fault
        # The setting of this name reaches no task of an application that Python starts itself.
        context.pythonExec = os.environ.get("PYSPARK_PYTHON") or sys.executable
        context.setLogLevel("ERROR")
        return context

    def _settings(self) -> dict[str, str]:
        """Only what must be so; the rest is the site's."""
        paths = [str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")]
        log = Path(__file__).with_name("spark_log.properties").as_uri()
        settings = {
            "spark.master": self.master,
            "spark.app.name": "counterfoil",
            "spark.executorEnv.PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "spark.task.maxFailures": str(ATTEMPTS),
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.driver.defaultJavaOptions": f"-Dlog4j2.configurationFile={log}",
        }
        if self.master.startswith("local["):
            settings["spark.master"] = self.master.replace("]", f",{ATTEMPTS}]")
        if self.master.startswith("local[") or _hosts(self.master) <= set(_LOOPBACK):
            settings["spark.driver.host"] = settings["spark.driver.bindAddress"] = "127.0.0.1"
        return settings

    def _find_master(self) -> None:
        """Refuse at once what Spark would try for a minute."""
        for place in self.master.removeprefix("spark://").split(","):
            host, _, port = place.rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_CONNECT).close()
            except OSError as fault:
                reason = fault
            else:
                return
        raise self._refusal(f"there is no Spark master: {reason}")

    def _refusal(self, reason: str) -> Refused:
        # Up to where the places in Spark's own code begin.
        told = reason.partition("\n\tat ")[0].strip()[-2000:]
        message = f"Spark at {self.master} could not finish the work: {told}"
        return Refused(Problem("runner_failed", message), status=503)


class _JavaMachine:
    """The one Java machine of this process, through which Spark's driver runs.

    Spark would start it itself, but then it would write to our standard error, among what a
    command prints. It ends with this process.
    """

    _running: "_JavaMachine | None" = None

    def __init__(self, settings: Any) -> None:
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as it runs
        launch = importlib.import_module("pyspark.java_gateway").launch_gateway
        try:
            self.gateway = launch(settings, {"stderr": self._words, "stdout": self._words})
        except Exception as fault:
            message = f"Java did not start: {fault}\n{self.last_words()}"
            raise Refused(Problem("runner_failed", message), status=503) from fault

    @classmethod
    def started(cls, settings: Any) -> "_JavaMachine":
        """The one that runs, or a new one."""
        if cls._running is None:
            cls._running = cls(settings)
        return cls._running

    def last_words(self) -> str:
        """The end of what it wrote."""
        self._words.seek(0)
        return self._words.read().decode(errors="replace")[-2000:]


def _hosts(master: str) -> set[str]:
    places = master.removeprefix("spark://").split(",")
    return {place.rpartition(":")[0].strip("[]") for place in places}
