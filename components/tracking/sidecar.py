"""The sidecar: a process that keeps MLflow up to date during a run."""

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

SERVER_RETRY_S = 30.0
"""Time between two attempts to reach a server that does not answer."""


def follow(root: Path, workspace: Path) -> subprocess.Popen[bytes]:
    """Start the sidecar for the run that `begin` wrote, in milliseconds; the sidecar ends by itself after the run.

    Its output goes to `logs/tracking.log`. Where start-up time matters, start the sidecar after the first optimizer
    step: importing MLflow keeps a core busy for some seconds.
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

    A sidecar that needs longer goes on without its owner.
    """
    try:
        sidecar.wait(timeout)
    except subprocess.TimeoutExpired:
        return {"ok": False, "message": "MLflow is not up to date with the run yet; see logs/tracking.log"}
    return status(root)


def status(root: Path) -> dict[str, Any]:
    """Return the state of tracking: `{"ok": True, "run_id": …}`, or `{"ok": False, "message": …}` for the screen."""
    try:
        return read_json(root / "logs/tracking.json")
    except FileNotFoundError:
        return {"ok": False, "message": "MLflow does not have the run; see logs/tracking.log"}


def follow_run(root: Path, workspace: Path, interval: float = 1.0) -> None:
    """Sync the run below `root` whenever its files change, until the run ends or its owner dies."""
    from components.tracking.store import sync

    os.nice(10)
    identity = read_json(root / "logs/run.json")["id"]
    synced_files: Any = None
    last_message: str | None = None
    retry_time = 0.0
    with sampling(root / "logs/system.jsonl"):
        while True:
            run = read_json(root / "logs/run.json")
            if run["id"] != identity:
                return
            if "ended" not in run and not owner_lives(run):
                end(root, "killed", "its process disappeared")
                continue
            files = _files(root)
            if "ended" in run or (files != synced_files and time.monotonic() >= retry_time):
                try:
                    outcome: dict[str, Any] = {"ok": True, "run_id": sync(root, workspace)}
                    synced_files, message = files, None
                except MartletError as error:
                    message = str(error)
                    outcome = {"ok": False, "message": message}
                    retry_time = time.monotonic() + SERVER_RETRY_S
                write_json(root / "logs/tracking.json", outcome)
                if message != last_message:
                    print(message or "MLflow answers again", flush=True)
                    last_message = message
            if "ended" in run:
                return
            time.sleep(interval)


def _files(root: Path) -> list[tuple[str, int, int]]:
    """Return name, time and size of the files that `sync` reads; equal lists mean that nothing is new."""
    logs = root / "logs"
    files = [*logs.glob("*/progress.jsonl"), *logs.glob("*/result.json"), *logs.glob("*.jsonl"), logs / "run.json"]
    stats = ((file, file.stat()) for file in sorted(files) if file.exists())
    return [(str(file), stat.st_mtime_ns, stat.st_size) for file, stat in stats]
