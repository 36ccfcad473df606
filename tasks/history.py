"""The runs whose files are there: in the workspace, in its work trees and their history, and in run folders."""

from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from components import tracking
from components.config import load
from components.errors import ConfigError
from components.files import read_json
from tasks.workspace import HISTORY, RUNS, folder_in


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
    """Return the runs below `workspace` and `output`, the oldest first; folders are relative to the workspace."""
    trees = [tree for tree in (workspace / RUNS).glob("*") if tree != workspace / HISTORY]
    folders = [
        *([workspace] if (workspace / "dvc.yaml").is_file() else []),
        *(folder_in(tree, workspace) for tree in trees),
        *(workspace / HISTORY).glob("*"),
        *(file.parent for pattern in ("", "*/", "*/*/") for file in output.glob(f"{pattern}args.json")),
    ]
    folders = [folder.resolve() for folder in folders if not folder.name.startswith("checkpoint-")]
    entries = [_read(folder, workspace.resolve()) for folder in folders]
    return sorted((entry for entry in entries if entry), key=lambda entry: entry.began)


def _read(root: Path, workspace: Path) -> Run | None:
    """Return the run in `root`, or None: nothing has run there."""
    log, reports = _json(root / "logs/run.json"), root / "reports"
    marks = [file for file in (root / "logs/run.json", root / "args.json", root / "dvc.lock") if file.is_file()]
    if not marks:
        return None
    params = log.get("params") or _json(root / "args.json") or _params(root)
    accuracies = _json(root / "metrics.json").get("merged", {})
    datasets = [Path(spec.partition("#")[0]).stem for spec in params.get("data", {}).get("dataset") or []]
    return Run(
        log.get("began") or marks[0].stat().st_mtime,
        Path(params.get("model", {}).get("model") or "").name,
        "+".join(datasets),
        _json(reports / "train.json").get("loss"),
        fmean(accuracies.values()) if accuracies else None,
        _json(reports / "gate.json").get("decision") or _ending(root, log),
        root.relative_to(workspace) if root.is_relative_to(workspace) else root,
    )


def _ending(root: Path, log: dict[str, Any]) -> str:
    if log and "ended" not in log:
        return "running" if tracking.current(root) else "killed"
    return log.get("outcome", "")


def _params(root: Path) -> dict[str, Any]:
    try:
        return load(root / "params.yaml").model_dump()
    except ConfigError:
        return {}


def _json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file, empty for a file that is not there or is damaged."""
    try:
        content = read_json(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
