"""What the numbers were measured on."""

import os
import platform
from pathlib import Path

import duckdb
import psutil

from counterfoil.bootstrap import Organisation


def describe_machine(organisation: Organisation) -> dict[str, str]:
    """Processor, cores, memory, disk's file system and the versions of what does the work."""
    with organisation.database.transaction(now=organisation.clock()) as uow:
        postgres = uow.query("SELECT current_setting('server_version') AS version")[0]["version"]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": str(usable),
        "memory_gb": f"{psutil.virtual_memory().total / 1024**3:.0f}",
        "system": f"{platform.system()} {platform.release()}",
        "file_system": _file_system(organisation.home),
        "python": platform.python_version(),
        "duckdb": duckdb.__version__,
        "postgresql": str(postgres).split(maxsplit=1)[0],
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    """The type of the file system a folder lies on."""
    mounts = [
        one for one in psutil.disk_partitions(all=True) if folder.is_relative_to(one.mountpoint)
    ]
    return max(mounts, key=lambda one: len(one.mountpoint)).fstype if mounts else "unknown"
