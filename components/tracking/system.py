"""Samples of the machine's load, under the names of MLflow's page of system metrics."""

import shutil
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from components.files import append_jsonl

MEGABYTE = 1024**2


@contextmanager
def sampling(file: Path, interval: float = 5.0) -> Generator[None]:
    """Append a sample to the JSONL `file` every `interval` seconds, from a thread of its own."""
    stop = threading.Event()

    def work() -> None:
        began = time.time()
        while True:
            append_jsonl(file, {"time": round(time.time(), 3), "step": round(time.time() - began), **sample()})
            if stop.wait(interval):
                return

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(interval)


def sample() -> dict[str, float]:
    """Return the load and memory of CPU and NVIDIA GPUs, in percent and MB."""
    import psutil

    memory = psutil.virtual_memory()
    values = {
        "cpu_utilization_percentage": psutil.cpu_percent(interval=0.2),
        "system_memory_usage_megabytes": round(memory.used / MEGABYTE, 1),
        "system_memory_usage_percentage": memory.percent,
    }
    for number, used, busy in _gpus():
        values[f"gpu_{number}_memory_usage_megabytes"] = used
        values[f"gpu_{number}_utilization_percentage"] = busy
    return values


def _gpus() -> list[tuple[int, float, float]]:
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=index,memory.used,utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        table = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True).stdout
        rows = [line.split(",") for line in table.splitlines()]
        return [(int(number), float(used), float(busy)) for number, used, busy in rows]
    except (OSError, subprocess.SubprocessError, ValueError):  # a card that reports [N/A]
        return []
