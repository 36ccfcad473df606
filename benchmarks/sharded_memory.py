"""The peak memory of each process of a full training that divides the model, as a share of what one process takes.

    python -m benchmarks.sharded_memory

A Qwen3 of 64M parameters with random weights is trained in float32 on a CPU, in one process and in two. What counts is
the peak of a process's resident memory, less the peak of the same process with a model of 0.6M: libraries. Freed memory
is given back, as in memory.py. On Linux only.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.memory import GIVES_BACK, _params, _prepared

WAYS = {
    "one process": "",
    "2 processes, DDP": "nproc_per_node=2",
    "2 processes, `zero2`": "nproc_per_node=2 deepspeed=zero2",
    "2 processes, `zero3`": "nproc_per_node=2 deepspeed=zero3",
    "2 processes, `full_shard`": "nproc_per_node=2 fsdp=full_shard",
}
SMALL, LARGE = {"width": 64, "layers": 2}, {"width": 640, "layers": 10}
POLL_S = 0.02


def train(way: str, shape: dict[str, int]) -> None:
    """Train in this process, or in those that it starts."""
    from tasks.stages import train

    params = _params("full", 1)
    values = {"save_steps": 100, "gradient_accumulation_steps": 2, "max_steps": 4}
    groups = {"distributed": dict(word.split("=") for word in way.split()), "train": values}
    dumped = params.model_dump()
    for group, changes in groups.items():
        dumped[group] |= changes
    params = type(params).model_validate(dumped)
    with TemporaryDirectory() as folder:
        train.run(params, _prepared(Path(folder), params, 16, 64, **shape))


def peak(way: str, shape: dict[str, int]) -> int:
    """Return bytes: the highest peak of a process that trains."""
    size = "large" if shape is LARGE else "small"
    words = [sys.executable, "-m", "benchmarks.sharded_memory", way, size]
    highest = 0
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **GIVES_BACK}
    ) as run:
        command = psutil.Process(run.pid)
        while run.poll() is None:
            for process in [command] if not way else command.children(recursive=True):
                with suppress(OSError, StopIteration):
                    if not way or os.getsid(process.pid) == process.pid:
                        highest = max(highest, _peak_of(process.pid))
            time.sleep(POLL_S)
    assert run.returncode == 0, way
    return highest


def _peak_of(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Print a table, or train one way."""
    if len(sys.argv) > 2:
        train(sys.argv[1], LARGE if sys.argv[2] == "large" else SMALL)
        return
    print("| | peak of a process | of one process's |\n|---|---|---|")
    one = 0
    for name, way in WAYS.items():
        used = peak(way, LARGE) - peak(way, SMALL)
        one = one or used
        print(f"| {name} | {used / 1e6:,.0f} MB | {used / one:.2f} |", flush=True)


if __name__ == "__main__":
    main()
