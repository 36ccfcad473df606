"""What nothing needs any more: work trees of failed and killed runs, run folders without a checkpoint, and on demand
the history of old runs and DVC's cache of results that no `dvc.lock` names."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

from components import tracking
from components.errors import ConfigError, MartletError
from components.texts import duration
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


def of_history(workspace: Path, keep: int | None, older_than_s: float | None) -> list[Leftover]:
    """Return the folders of `.runs/history` beyond the newest `keep`, and those older than `older_than_s` seconds."""
    if keep is None and older_than_s is None:
        return []
    ages = {folder: time.time() - folder.stat().st_mtime for folder in (workspace / HISTORY).glob("*")}
    newest_first = sorted(ages, key=lambda folder: ages[folder])
    return [
        Leftover(folder.relative_to(workspace), f"kept for {duration(ages[folder])}")
        for number, folder in enumerate(newest_first)
        if (keep is not None and number >= keep) or (older_than_s is not None and ages[folder] > older_than_s)
    ]


def collect_cache(workspace: Path, is_dry: bool) -> int:
    """Remove from DVC's cache what neither the workspace nor a work tree names, with `is_dry` nothing; return how many
    of its files that is.

    Raises:
        ConfigError: a run goes on, whose results the cache holds.
        MartletError: DVC failed.
    """
    trees = [folder_in(tree, workspace) for tree in (workspace / RUNS).glob("*") if (tree / ".git").is_file()]
    if busy := next((folder for folder in (workspace, *trees) if is_claimed(folder)), None):
        raise ConfigError(f"--dvc_cache: a run works in {busy}; its results are in the cache: wait for its end")
    command = [sys.executable, "-P", "-m", "dvc", "gc", "--workspace", "--dry" if is_dry else "--force"]
    command += ["--projects", *map(str, trees)] if trees else []
    ended = subprocess.run(command, cwd=workspace, capture_output=True, text=True)
    if ended.returncode:
        raise MartletError(f"dvc gc: {ended.stderr.strip().splitlines()[-1]}")
    removed = re.search(r"Removed (\d+) objects from repo cache", ended.stdout)
    return int(removed[1]) if removed else 0


def remove(leftover: Leftover, workspace: Path) -> None:
    """Remove the folder; a work tree is also taken from git's list."""
    if leftover.folder.parent == Path(RUNS):
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
