"""Kernels for runners: importable by name in a fresh Python of a worker, like the real ones."""

import os
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil

from counterfoil.platform.engine.duck import open_engine
from counterfoil.platform.engine.spark_cluster import kill_tree


def price(minutes: int) -> tuple[Decimal, int]:
    """So many minutes at 0.005, exactly, and the process that computed it."""
    with open_engine(threads=1) as engine:
        row = engine.row("SELECT CAST($n AS DECIMAL(18,0)) * 0.005::DECIMAL(10,3)", {"n": minutes})
    return row[0], os.getpid()


def beyond_38_digits(minutes: int) -> Decimal:
    """A fault of the work: it is the same at every attempt."""
    with open_engine(threads=1) as engine:
        return engine.row(f"SELECT sum(99999999999999999999999999999999999999 * {minutes})")[0]


def not_there_yet(folder: str, minutes: int) -> Decimal:
    """A fault of the place: the file is there at the second attempt."""
    tried = Path(folder) / str(minutes)
    if not tried.exists():
        tried.touch()
        raise FileNotFoundError(tried)
    return price(minutes)[0]


def never_there(minutes: int) -> Decimal:
    raise FileNotFoundError(f"segment {minutes}")


def lethal(kernel: Callable[[Any], Any], mark: str, work: Any) -> Any:
    """Kill the Spark worker (or else the process) that the task runs in; only the first does.

    ``mark`` is a file that does not exist yet; afterwards it names the killed process.
    """
    try:
        descriptor = os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return kernel(work)
    ancestors = psutil.Process().parents()
    workers = [one.pid for one in ancestors if any("worker.Worker" in arg for arg in one.cmdline())]
    victim = workers[0] if workers else os.getpid()
    os.write(descriptor, str(victim).encode())
    if workers:
        kill_tree(victim)
    return os.kill(os.getpid(), signal.SIGKILL)
