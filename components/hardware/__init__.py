"""The machine: cores, memory, disk, accelerators. Nothing heavy is imported."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple


class Machine(NamedTuple):
    """Cores that this process may use, memory and free disk in bytes, and the accelerators by name."""

    cores: int
    memory: int
    free_disk: int
    accelerators: list[str]


def describe(folder: Path) -> Machine:
    """Return the machine, with the free disk where `folder` lies."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(cores, psutil.virtual_memory().total, shutil.disk_usage(folder).free, _accelerators())


def _accelerators() -> list[str]:
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=10)
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()] if answer.returncode == 0 else []
