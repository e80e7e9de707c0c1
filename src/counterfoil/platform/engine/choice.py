"""Which runner the words of COUNTERFOIL_RUNNER name."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.engine.processes import LocalProcesses
from counterfoil.platform.engine.runner import IN_THIS_PROCESS, Runner
from counterfoil.platform.engine.spark import SparkTasks

IN_PROCESS = "in-process"
FORMS = (IN_PROCESS, "processes[N]", "local[N]", "local[*]", "spark://HOST:PORT[,HOST:PORT…]")
"""The allowed words: here; N processes; Spark in one Java machine; Spark's standalone cluster."""

_PLACE = r"(?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}"
_PROCESSES = re.compile(r"processes\[([1-9]\d{0,2})\]")
_SPARK = re.compile(rf"local\[(?:[1-9]\d{{0,2}}|\*)\]|spark://{_PLACE}(?:,{_PLACE})*")


def read_runner(words: str, variable: str) -> str:
    """The words, if they are one of ``FORMS``; otherwise refused, naming the variable."""
    words = words.strip()
    if words == IN_PROCESS or _PROCESSES.fullmatch(words) or _SPARK.fullmatch(words):
        return words
    raise Refused(Problem("unknown_runner", f"{words!r} is not a runner", variable, FORMS))


@contextmanager
def open_runner(words: str | None) -> Iterator[Runner]:
    """The runner of these words (see ``read_runner``; None is in this process), closed at the end.

    Nothing is started before the first works.
    """
    runner = _make(words or IN_PROCESS)
    try:
        yield runner
    finally:
        runner.close()


def _make(words: str) -> Runner:
    if words == IN_PROCESS:
        return IN_THIS_PROCESS
    processes = _PROCESSES.fullmatch(words)
    return LocalProcesses(int(processes[1])) if processes else SparkTasks(words)
