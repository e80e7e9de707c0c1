"""A Spark cluster on this machine, to try and to test: one master, some workers, free ports.

``python -m counterfoil.platform.engine.spark_cluster [WORKERS]`` starts one, prints its address
for COUNTERFOIL_RUNNER and ends it on Ctrl-C.
"""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.engine.spark import spark_missing

MEMORY_OF_A_WORKER = "1g"

# These processes compute nothing: they are to be small and there soon.
_JAVA_OPTIONS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_SECONDS_TO_START = 60
_BETWEEN_LOOKS = 0.05


class Cluster:
    """The processes of a cluster. ``master`` is its address, ``workers`` those that live."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._logs: dict[int, Path] = {}
        self.workers: list[subprocess.Popen[bytes]] = []
        self._master = self._start("Master", ["--port", "0"])
        try:
            self.master = self._told(self._master, r"Starting Spark master at (spark://\S+)")
        except BaseException:
            self.close()
            raise

    def fill(self, workers: int) -> None:
        """Start workers of one core until there are so many; return when the master knows them."""
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        more = ["--cores", "1", "--memory", MEMORY_OF_A_WORKER, "--port", "0"]
        more += ["--work-dir", str(self._folder), self.master]
        new = [self._start("Worker", more) for _ in range(workers - len(self.workers))]
        self.workers += new
        for worker in new:
            self._told(worker, "(Successfully registered with master)")

    def close(self) -> None:
        """End everything, with all that it has started."""
        for process in (*self.workers, self._master):
            kill_tree(process.pid)
            process.wait()

    def _start(self, role: str, more: list[str]) -> "subprocess.Popen[bytes]":
        missing = spark_missing()
        if missing is not None:
            raise Refused(missing, status=503)
        found = importlib.util.find_spec("pyspark")
        assert found is not None and found.origin is not None  # noqa: S101 - it is not missing
        home = Path(found.origin).parent
        scala = next(home.glob("jars/spark-core_*.jar")).name.split("_")[1].split("-")[0]
        java = os.environ.get("JAVA_HOME")
        command = [str(Path(java) / "bin/java") if java else "java", *_JAVA_OPTIONS]
        command += ["-cp", f"{home}/jars/*", f"org.apache.spark.deploy.{role.lower()}.{role}"]
        command += ["--host", "127.0.0.1", "--webui-port", "0", *more]
        environment = {
            **os.environ,
            "SPARK_HOME": str(home),
            "SPARK_SCALA_VERSION": scala,
            "SPARK_LOCAL_DIRS": str(self._folder),
        }
        log = self._folder / f"{role}-{len(self._logs)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=file, env=environment, start_new_session=True
            )
        self._logs[process.pid] = log
        return process

    def _told(self, process: "subprocess.Popen[bytes]", pattern: str) -> str:
        """What a process writes about itself, once it has."""
        log = self._logs[process.pid]
        deadline = time.monotonic() + _SECONDS_TO_START
        while process.poll() is None and time.monotonic() < deadline:
            found = re.search(pattern, log.read_text(errors="replace"))
            if found:
                return found[1]
            time.sleep(_BETWEEN_LOOKS)
        message = f"Spark did not start:\n{log.read_text(errors='replace')[-2000:]}"
        raise Refused(Problem("runner_failed", message), status=503)


def kill_tree(pid: int) -> None:
    """Kill a process and all below it at once, as when its machine loses power."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for one in family:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue


@contextmanager
def spark_cluster(workers: int) -> Iterator[Cluster]:
    """A cluster of so many workers of one core each, ended at the end."""
    with tempfile.TemporaryDirectory(prefix="counterfoil-spark-") as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.fill(workers)
            yield cluster
        finally:
            cluster.close()


def main() -> None:
    """Run a cluster until Ctrl-C."""
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    with spark_cluster(workers) as cluster:
        print(f"export COUNTERFOIL_RUNNER={cluster.master}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("The cluster has ended.")


if __name__ == "__main__":
    main()
