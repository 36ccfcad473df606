"""Wall time of the everyday commands, in a workspace where the demo has run.

    python benchmarks/commands.py [--runs 5]

Prints the median and the range in seconds, beside the limit for 2 cores without a GPU.
"""

import argparse
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
ENV = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def seconds(command: str) -> float:
    start = time.perf_counter()
    subprocess.run(shlex.split(command), env=ENV, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def report(name: str, limit_s: float, times: list[float]) -> None:
    median = statistics.median(times)
    verdict = "ok" if median <= limit_s else "MISSED"
    spread = f"({min(times):.2f}–{max(times):.2f})"
    print(f"{name:<44} {median:6.2f} s  {spread}  limit {limit_s:g} s  {verdict}", flush=True)


def stop_prefect() -> None:
    home = Path(os.environ.get("PREFECT_HOME", Path.home() / ".prefect"))
    for file in home.glob("*.pid"):
        try:
            os.kill(int(file.read_text().split()[0]), signal.SIGTERM)
        except ProcessLookupError:
            file.unlink()
    time.sleep(3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    for name, limit_s, command in (
        ("martlet --help", 0.5, "martlet --help"),
        ("martlet validate", 1, "martlet validate"),
        ("dvc repro, nothing to do", 3, "dvc repro"),
        ("martlet run, nothing to do, server up", 7, "martlet run"),
    ):
        seconds(command)
        report(name, limit_s, [seconds(command) for _ in range(runs)])
    cold = []
    for _ in range(min(runs, 3)):
        stop_prefect()
        cold.append(seconds("martlet run"))
    report("martlet run, nothing to do, server started", 15, cold)
    report("orchestration per stage", 3, [overhead() for _ in range(runs)])


def overhead() -> float:
    """Return the seconds that DVC, Prefect and MLflow add to one stage: `martlet run` with only `merge` to do, less
    an idle `martlet run` and the bare stage."""
    shutil.rmtree("models/merged")
    whole = seconds("martlet run")
    return whole - seconds("martlet run") - seconds("python -m tasks.stages merge")


if __name__ == "__main__":
    main()
