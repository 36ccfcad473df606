"""How long the everyday commands take, in a workspace where the demo has run.

    python benchmarks/commands.py [--runs 5]

Prints the median and the range of each, in seconds of wall time. The bars are for 2 cores without a GPU.
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
    began = time.perf_counter()
    subprocess.run(shlex.split(command), env=ENV, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def report(name: str, bar: float, times: list[float]) -> None:
    middle = statistics.median(times)
    verdict = "ok" if middle <= bar else "MISSED"
    print(f"{name:<44} {middle:6.2f} s  ({min(times):.2f}–{max(times):.2f})  bar {bar:g} s  {verdict}", flush=True)


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
    for name, bar, command in (
        ("martlet --help", 0.5, "martlet --help"),
        ("martlet validate", 1, "martlet validate"),
        ("dvc repro, nothing to do", 3, "dvc repro"),
        ("martlet run, nothing to do, server up", 7, "martlet run"),
    ):
        seconds(command)
        report(name, bar, [seconds(command) for _ in range(runs)])
    cold = []
    for _ in range(min(runs, 3)):
        stop_prefect()
        cold.append(seconds("martlet run"))
    report("martlet run, nothing to do, server started", 15, cold)
    report("orchestration per stage", 3, [overhead() for _ in range(runs)])


def overhead() -> float:
    """What DVC, Prefect and MLflow add to one stage: `martlet run` with only `merge` to do, less the bare script."""
    shutil.rmtree("models/merged")
    whole = seconds("martlet run")
    return whole - seconds("martlet run") - seconds("python -m tasks.stages.merge")


if __name__ == "__main__":
    main()
