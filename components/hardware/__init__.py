"""The machine: cores, memory, disk, accelerators. Nothing heavy is imported."""

import os
import shutil
import subprocess
from contextlib import suppress
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

    return Machine(cores(), psutil.virtual_memory().total, shutil.disk_usage(folder).free, _accelerators())


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_limit() -> int:
    """Return bytes of memory that a training process has: those of its accelerator, or of the machine or container."""
    import torch

    return torch.accelerator.get_memory_info()[1] if torch.accelerator.is_available() else machine_memory()


def machine_memory() -> int:
    """Return bytes of memory of the machine, or of the container that this process lives in."""
    import psutil

    whole = psutil.virtual_memory().total
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        return min(whole, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return whole


PEAK_FLOPS = {
    "GB200": 2500e12, "B200": 2250e12, "H200": 989e12, "GH200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12,
    "H100": 989e12, "H800": 989e12, "H20": 148e12, "A100": 312e12, "A800": 312e12, "A30": 165e12, "A40": 150e12,
    "A10G": 70e12, "A10": 125e12, "L40S": 362e12, "L40": 181e12, "L4": 121e12, "V100": 125e12, "T4": 65e12,
    "RTX A6000": 155e12, "RTX 6000 Ada": 364e12, "RTX 5090": 210e12, "RTX 4090": 165e12, "RTX 3090": 71e12,
}  # fmt: skip
"""Dense half-precision operations per second (float32 sums) by a part of the name, longer parts first where one is in
another; NVIDIA's data sheets."""


def peak_flops(name: str) -> float | None:
    """Return how many half-precision operations per second the accelerator `name` can do, or None where that is not
    known."""
    words = f" {name.replace('-', ' ')} "
    return next((peak for part, peak in PEAK_FLOPS.items() if f" {part} " in words), None)


def _accelerators() -> list[str]:
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=10)
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()] if answer.returncode == 0 else []
