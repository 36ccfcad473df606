"""The logs of stages, in the workspace and in its work trees, and how the last run ended, as lines of text."""

import time
from collections.abc import Callable
from pathlib import Path

from components.errors import ConfigError, did_you_mean
from tasks import record
from tasks.claim import is_claimed
from tasks.progress import describe, following, own_lines
from tasks.workspace import HISTORY, RUNS, folder_in

LOOK_S = 0.2
"""Seconds between two looks at whether a stage has ended."""


def root_of(workspace: Path, run: str | None) -> Path:
    """Return the folder of a run: the workspace, or the work tree `.runs/RUN`.

    Raises:
        ConfigError: there is no such work tree.
    """
    trees = {tree.name: tree for tree in (workspace / RUNS).glob("*") if tree.is_dir() and tree != workspace / HISTORY}
    if run is None:
        return workspace
    if run not in trees:
        there = f"there are {', '.join(sorted(trees))}" if trees else "no run goes on in a work tree"
        raise ConfigError(f"--run {run}: no such work tree{did_you_mean(run, trees)}; {there}")
    return folder_in(trees[run], workspace)


def ending(root: Path) -> list[str]:
    """Return how the last run ended, why, and the page about that; nothing while a run goes on, or where it is not
    known."""
    outcome = record.last(root)
    if not outcome or is_claimed(root):
        return []
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(outcome["ended"]))
    page = record.page_of(outcome["stage"], root)
    return [f"the last run: {outcome['outcome']}, {date}", outcome["message"], *([f"see {page}"] if page else []), ""]


def folder_of(root: Path, stage: str | None) -> Path:
    """Return the log folder of a stage, or by default of the stage that ended the last run, else of the stage that
    wrote last.

    Raises:
        ConfigError: the stage, or every stage, has no log.
    """
    folders = {file.parent.name: file for file in (root / "logs").glob("*/output.log")}
    if not folders:
        raise ConfigError(f"{root}: no stage has run here yet; `martlet run` runs them")
    if stage and stage not in folders:
        raise ConfigError(f"no log of '{stage}'{did_you_mean(stage, folders)}; there are {', '.join(sorted(folders))}")
    newest = max(folders, key=lambda name: folders[name].stat().st_mtime)
    ended_by = {"approval": "gate"}.get(last := record.last(root).get("stage", ""), last)
    by_default = ended_by if ended_by in folders and not is_claimed(root) else newest
    return folders[stage or by_default].parent


def follow(root: Path, log: Path, show: Callable[[str], None], forever: bool) -> None:
    """Call `show` with the progress of a stage, then with its output and how it ended; with `forever`, the progress of
    a stage that runs until it ends."""

    def tell(entry: dict[str, object]) -> None:
        if text := describe(entry):
            show(text)

    with following(log / "progress.jsonl", tell, every=LOOK_S):
        while forever and is_claimed(root) and not (log / "result.json").is_file():
            time.sleep(LOOK_S)
    for line in own_lines((log / "output.log").read_text(errors="replace")):
        show(line)
    if result := record.read_object(log / "result.json"):
        verdict = (result.get("metrics") or {}).get("text", "")
        show(f"{log.name}: {result.get('status', '')} {result.get('message', verdict)}".rstrip())
