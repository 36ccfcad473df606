"""The runs whose files are there: in the workspace, in its work trees and their history, and in run folders."""

from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from components import tracking
from components.config import load
from components.errors import ConfigError
from tasks import record
from tasks.record import read_object
from tasks.workspace import HISTORY, RUNS, folder_in

DONE = ("ran", "restored", "passed")
"""Outcomes of runs that came to their end."""


class Run(NamedTuple):
    """A run: seconds since 1970, last path segments of model and datasets, final loss, mean accuracy, verdict."""

    began: float
    model: str
    data: str
    loss: float | None
    score: float | None
    verdict: str
    folder: Path


def runs(workspace: Path, output: Path) -> list[Run]:
    """Return the runs below `workspace` and `output`, the oldest first; folders are relative to the workspace.

    The last run in the workspace, which is in its history as well, is listed once.
    """
    trees = [tree for tree in (workspace / RUNS).glob("*") if tree != workspace / HISTORY]
    folders = [
        *([workspace] if (workspace / "dvc.yaml").is_file() else []),
        *(folder_in(tree, workspace) for tree in trees),
        *(workspace / HISTORY).glob("*"),
        *(file.parent for pattern in ("", "*/", "*/*/") for file in output.glob(f"{pattern}args.json")),
    ]
    folders = [folder.resolve() for folder in folders if not folder.name.startswith("checkpoint-")]
    entries = [entry for folder in folders if (entry := _read(folder, workspace.resolve()))]
    here = [entry.began for entry in entries if entry.folder == Path()]
    runs = [entry for entry in entries if entry.began not in here or entry.folder == Path()]
    return sorted(runs, key=lambda entry: entry.began)


def _read(root: Path, workspace: Path) -> Run | None:
    """Return the run in `root`, or None: nothing has run there.

    A run that has not ended well has only what it wrote itself: reports of a run before it may still lie there.
    """
    log, outcome = tracking.record(root), record.last(root)
    marks = [root / name for name in (record.OUTCOME, "logs/run.json", "args.json", "dvc.lock")]
    marks = [file for file in marks if file.is_file()]
    if not marks:
        return None
    began = outcome.get("began") or log.get("began") or marks[0].stat().st_mtime
    is_judged = outcome.get("stage") in ("gate", "approval")
    is_done = outcome["outcome"] in DONE or is_judged if outcome else not log or log.get("outcome") == "done"
    train, gate, metrics = (
        read_object(root / name) if is_done or _is_since(root / name, began) else {}
        for name in ("reports/train.json", "reports/gate.json", "metrics.json")
    )
    scores = _numbers(metrics.get("merged"))
    return Run(
        began,
        *_names(log.get("params") or read_object(root / "args.json") or _params(root)),
        next(iter(_numbers({"loss": train.get("loss")})), None),
        fmean(scores) if scores else None,
        str(gate.get("decision") or "") if is_done and gate else outcome.get("outcome") or _ending(root, log),
        root.relative_to(workspace) if root.is_relative_to(workspace) else root,
    )


def _names(params: dict[str, Any]) -> tuple[str, str]:
    """Return the last path segments of model and datasets, empty where the parameters are damaged."""
    try:
        datasets = [Path(spec.partition("#")[0]).stem for spec in params["data"].get("dataset") or []]
        return Path(params["model"].get("model") or "").name, "+".join(datasets)
    except (KeyError, TypeError, AttributeError):
        return "", ""


def _numbers(values: Any) -> list[float]:
    """Return the numbers among the values of a mapping; none of anything else."""
    return [value for value in values.values() if isinstance(value, int | float)] if isinstance(values, dict) else []


def _is_since(file: Path, began: float) -> bool:
    return file.is_file() and file.stat().st_mtime >= began


def _ending(root: Path, log: dict[str, Any]) -> str:
    if log and "ended" not in log:
        return "running" if tracking.current(root) else "killed"
    return log.get("outcome", "")


def _params(root: Path) -> dict[str, Any]:
    try:
        return load(root / "params.yaml").model_dump()
    except ConfigError:
        return {}
