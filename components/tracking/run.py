"""The run that the files below a root belong to, in `logs/run.json`; without MLflow."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Literal

from components.errors import without_credentials
from components.files import read_json, write_json

MAX_TITLE_DATASETS = 3
Outcome = Literal["done", "failed", "interrupted", "killed"]


def begin(
    root: Path,
    params: dict[str, Any],
    name: str | None = None,
    began: float | None = None,
    command: str | None = None,
) -> str:
    """Write `logs/run.json` for a run that this process owns; return the run's id.

    Args:
        params: the resolved parameters, in groups.
        name: the run's name in MLflow; by default made of model, datasets and date.
        began: start of the run in seconds since 1970, by default now; earlier stages are not part of the run.
        command: the command that the user typed, by default that of this process.
    """
    import psutil

    began = began or time.time()
    identity = time.strftime("%Y%m%d-%H%M%S-", time.gmtime(began)) + uuid.uuid4().hex[:6]
    logs = root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for old in ("system.jsonl", "tracking.json"):
        (logs / old).unlink(missing_ok=True)
    write_json(
        logs / "run.json",
        {
            "id": identity,
            "name": name or _title(params, began),
            "began": round(began, 3),
            "command": without_credentials(command or " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])),
            "commit": commit(root),
            "dirty": bool(_git(root, "status", "--porcelain", "--untracked-files=no")),
            "pid": os.getpid(),
            "pid_began": psutil.Process().create_time(),
            "params": params,
        },
    )
    return identity


def _title(params: dict[str, Any], began: float) -> str:
    """Return `Qwen3-0.6B, identity+sounds, 2026-11-28 18:05`."""
    model = Path(params.get("model", {}).get("model") or "no model").name
    datasets = [Path(spec.partition("#")[0]).stem for spec in params.get("data", {}).get("dataset") or ["no data"]]
    shown = datasets if len(datasets) <= MAX_TITLE_DATASETS else [*datasets[:MAX_TITLE_DATASETS], "…"]
    return f"{model}, {'+'.join(shown)}, {time.strftime('%Y-%m-%d %H:%M', time.localtime(began))}"


def commit(root: Path) -> str | None:
    """Return the commit checked out at `root`, or None outside of git."""
    return _git(root, "rev-parse", "HEAD")


def _git(root: Path, *words: str) -> str | None:
    try:
        answer = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def end(root: Path, outcome: Outcome, message: str | None = None) -> None:
    """Write the outcome of the run and its reason to `logs/run.json`."""
    run = read_json(root / "logs/run.json")
    write_json(root / "logs/run.json", {**run, "ended": round(time.time(), 3), "outcome": outcome, "message": message})


def record(root: Path) -> dict[str, Any]:
    """Return what `begin` and `end` wrote of the last run below `root`, empty where that is gone or damaged."""
    try:
        run = read_json(root / "logs/run.json")
        owner = [] if "ended" in run else [run["pid"], run["pid_began"]]
        is_whole = all(isinstance(number, int | float) for number in (run["began"], *owner))
        return run if is_whole and isinstance(run["params"], dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def current(root: Path) -> dict[str, Any] | None:
    """Return the present run below `root`, or None: the run has ended, or its process is gone."""
    run = record(root)
    return run if run and "ended" not in run and owner_lives(run) else None


def owner_lives(run: dict[str, Any]) -> bool:
    """Return whether the run's process lives. Process ids repeat, so start times are compared too."""
    import psutil

    try:
        return abs(psutil.Process(run["pid"]).create_time() - run["pid_began"]) < 1
    except psutil.NoSuchProcess:
        return False
