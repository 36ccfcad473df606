"""What failed and killed runs left behind: work trees below `.runs/`, and run folders without a checkpoint."""

import shutil
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

from components import tracking
from tasks.claim import is_claimed
from tasks.direct import RUN_FOLDER
from tasks.workspace import HISTORY, RUNS, folder_in, remove_tree

MAX_REASON_CHARS = 80
"""Length of the reason why a folder is there; its logs have the whole message."""


class Leftover(NamedTuple):
    """A folder that nothing needs, and why it is there."""

    folder: Path
    reason: str


def of_runs(workspace: Path) -> list[Leftover]:
    """Return the work trees below `.runs/` in which no run works."""
    trees = [tree for tree in sorted((workspace / RUNS).glob("*")) if tree.is_dir() and tree != workspace / HISTORY]
    return [
        Leftover(tree.relative_to(workspace), _ending(folder_in(tree, workspace)))
        for tree in trees
        if not is_claimed(folder_in(tree, workspace))
    ]


def of_output(output: Path) -> list[Leftover]:
    """Return the run folders below `output` that have no checkpoint and in which no run works."""
    folders = [folder for folder in sorted(output.glob("v*")) if RUN_FOLDER.match(folder.name) and folder.is_dir()]
    return [
        Leftover(folder, _ending(folder))
        for folder in folders
        if not any(folder.glob("checkpoint-*")) and not tracking.current(folder)
    ]


def remove(leftover: Leftover, workspace: Path) -> None:
    """Remove the folder; a work tree is also taken from git's list."""
    if leftover.folder.parts[0] == RUNS:
        remove_tree(workspace, workspace / leftover.folder)
    else:
        shutil.rmtree(leftover.folder)


def _ending(root: Path) -> str:
    """Return how the run in `root` ended, in a short line."""
    run = tracking.record(root)
    if not run:
        return "its run did not begin"
    ending = f"{run.get('outcome', 'killed')}: {run.get('message') or ''}".rstrip(": ")
    return shorten(ending, MAX_REASON_CHARS, placeholder=" …")
