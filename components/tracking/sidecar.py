"""The process that tells MLflow about a run while it goes on, and how the run's owner deals with it."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from components.errors import MartletError
from components.files import read_json, write_json
from components.tracking.run import end, owner_lives
from components.tracking.system import sampling

RETRY = 30.0
"""Seconds until a server that did not answer is asked again."""


def follow(root: Path, workspace: Path) -> subprocess.Popen[bytes]:
    """Start the sidecar for the run that `begin` wrote; it ends by itself after the run has. Takes milliseconds.

    Its output goes to `logs/tracking.log`. Start it after the first optimizer step where start-up matters: importing
    MLflow keeps a core busy for some seconds.
    """
    command = [sys.executable, "-m", "components.tracking", str(root), "--workspace", str(workspace)]
    quick = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "4"}
    with (root / "logs/tracking.log").open("wb") as log:
        return subprocess.Popen(
            command, env={**os.environ, **quick}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip


def finish(sidecar: subprocess.Popen[bytes], root: Path, timeout: float = 20.0) -> dict[str, Any]:
    """Wait for the last sync of a run that has ended, `timeout` seconds at most; return `status(root)`.

    A sidecar that needs longer goes on by itself.
    """
    try:
        sidecar.wait(timeout)
    except subprocess.TimeoutExpired:
        return {"ok": False, "message": "MLflow is still being told about the run; see logs/tracking.log"}
    return status(root)


def status(root: Path) -> dict[str, Any]:
    """How telling MLflow goes: `{"ok": True, "run_id": …}`, or `{"ok": False, "message": …}` for the screen."""
    try:
        return read_json(root / "logs/tracking.json")
    except FileNotFoundError:
        return {"ok": False, "message": "MLflow has not been told about the run; see logs/tracking.log"}


def tell(root: Path, workspace: Path, interval: float = 1.0) -> None:
    """Follow the files of the run below `root` until it ends or its owner dies, then sync a last time."""
    from components.tracking.store import sync

    os.nice(10)
    identity = read_json(root / "logs/run.json")["id"]
    seen: Any = None
    problem: str | None = None
    ask_again = 0.0
    with sampling(root / "logs/system.jsonl"):
        while True:
            run = read_json(root / "logs/run.json")
            if run["id"] != identity:
                return
            if "ended" not in run and not owner_lives(run):
                end(root, "killed", "its process disappeared")
                continue
            files = _files(root)
            if "ended" in run or (files != seen and time.monotonic() >= ask_again):
                try:
                    outcome: dict[str, Any] = {"ok": True, "run_id": sync(root, workspace)}
                    seen, message = files, None
                except MartletError as error:
                    message = str(error)
                    outcome = {"ok": False, "message": message}
                    ask_again = time.monotonic() + RETRY
                write_json(root / "logs/tracking.json", outcome)
                if message != problem:
                    print(message or "MLflow answers again", flush=True)
                    problem = message
            if "ended" in run:
                return
            time.sleep(interval)


def _files(root: Path) -> list[tuple[str, int, int]]:
    """What `sync` reads, by name, time and size: when none of it changes there is nothing to tell."""
    logs = root / "logs"
    found = [*logs.glob("*/progress.jsonl"), *logs.glob("*/result.json"), *logs.glob("*.jsonl"), logs / "run.json"]
    stats = ((file, file.stat()) for file in sorted(found) if file.exists())
    return [(str(file), stat.st_mtime_ns, stat.st_size) for file, stat in stats]
