"""The folder of a run: the workspace, for one run at a time, or a git worktree of its own that shares DVC's cache."""

import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from components.config import CANONICAL, GROUPS, LEAVES, Layer, Params
from components.errors import ConfigError, EvaluationGateError, MartletError
from components.files import sha256_of
from tasks.claim import claim, git_ignored, is_claimed
from tasks.plan import Changes, Pipeline
from tasks.stages.paths import Paths

RUNS = ".runs"
HISTORY = f"{RUNS}/history"
HISTORY_FILES = ("params.yaml", "dvc.lock", "metrics.json", "logs/run.json", "logs/outcome.json", "reports")
"""Files and folders of a run that are copied to the history: before its worktree is removed, or before the next run in
the workspace writes others."""
MAX_NAME_LENGTH = 60
"""Characters of the parameters in the name of a tree."""


class RunFolder(NamedTuple):
    """The paths of a run, and the descriptor of the lock that its stages inherit."""

    paths: Paths
    lock: int


def changes_of(params: Params, layers: Iterable[Layer]) -> dict[str, dict[str, Any]]:
    """Return the parameters that `layers` set, by group and leaf, with their values in the resolved `params`."""
    values = params.model_dump(mode="json")
    changes: dict[str, dict[str, Any]] = {}
    for leaf in (LEAVES[name] for layer in layers for name in layer.values):
        changes.setdefault(leaf.group, {})[leaf.name] = values[leaf.group][leaf.name]
    return changes


@contextmanager
def in_place(workspace: Path, who: str) -> Generator[RunFolder]:
    """Hold the workspace itself for the run `who`.

    Raises:
        MartletError: another run works there; the message names that run.
    """
    with claim(workspace, who) as lock:
        yield RunFolder(Paths(workspace, workspace), lock)


def name_of(workspace: Path, changes: Changes) -> str:
    """Return the name of a tree for a run with `changes`: that of a tree which the same run left behind, or a new one
    such as `20261128-180500-lora_rank=16-1a2b3c`."""
    key = sha256_of(changes)[:6]
    for tree in sorted((workspace / RUNS).glob(f"*-{key}"), reverse=True):
        if not is_claimed(folder_in(tree, workspace)):
            return tree.name
    values = "-".join(f"{leaf}={value}" for group in changes.values() for leaf, value in group.items())
    words = re.sub(r"[^\w=.,-]", "_", values, flags=re.ASCII)[:MAX_NAME_LENGTH]
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{words}-{key}"


def folder_in(tree: Path, workspace: Path) -> Path:
    """Return the folder of a worktree that is the workspace there: the workspace may lie deeper in its repository."""
    top = next((folder for folder in (workspace, *workspace.parents) if (folder / ".git").exists()), workspace)
    return tree / workspace.resolve().relative_to(top.resolve())


@contextmanager
def in_worktree(workspace: Path, name: str, who: str, changes: Changes) -> Generator[RunFolder]:
    """Hold the git worktree `.runs/NAME`, a copy of the workspace's files with `changes` in `params.yaml`.

    When the run is complete, promoted or not, its parameters, lock, metrics and reports are kept in
    `.runs/history/NAME` and the tree is removed; after a failure the tree stays, and a run of the same name continues.

    Raises:
        ConfigError: the workspace is not in a git repository, or the repository has no commit.
    """
    tree = workspace / RUNS / name
    top, root = _make_tree(workspace, tree)
    _write_changes(root / "params.yaml", changes)
    gate_error: EvaluationGateError | None = None
    try:
        with claim(root, who) as lock:
            yield RunFolder(Paths(root, workspace), lock)
    except EvaluationGateError as error:
        gate_error = error
    _copy_to_history(root, workspace / HISTORY / name)
    _git(top, "worktree", "remove", "--force", str(tree))
    if gate_error:
        raise gate_error


def _make_tree(workspace: Path, tree: Path) -> tuple[Path, Path]:
    """Return the repository's top and, in the worktree, the folder that is the workspace there."""
    try:
        top, head = Path(_git(workspace, "rev-parse", "--show-toplevel")), _git(workspace, "rev-parse", "HEAD")
    except MartletError as error:
        raise ConfigError(
            f"a run with other parameters works in a git worktree, and {workspace} is not in a git repository with a "
            "commit. Make it one with `git init && git add -A && git commit -m start`, or edit params.yaml and use "
            "`martlet run` alone"
        ) from error
    root = folder_in(tree, workspace)
    git_ignored(workspace / RUNS)
    with (git_ignored(workspace / ".martlet") / "worktrees.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _git(top, "worktree", "prune")
        # `status` refreshes git's index first: on a stale index `stash create` fails without a message.
        snapshot = head
        if _git(top, "status", "--porcelain", "--untracked-files=no"):
            snapshot = _git(top, "stash", "create")
        _check_out(top, tree, root, snapshot)
        for name in _git(top, "ls-files", "-z", "--others", "--exclude-standard").split("\0"):
            if name and not name.endswith("/"):
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(top / name, tree / name, follow_symlinks=False)
    _share_cache(workspace, root)
    return top, root


def _check_out(top: Path, tree: Path, root: Path, snapshot: str) -> None:
    """Make the worktree `tree` with the files of `snapshot`. A tree that an earlier run left keeps its `dvc.lock`,
    which says what is done; one that was left half made is made anew."""
    if (tree / ".git").is_file():  # else git would take the folder for a part of the repository above
        lock = (root / "dvc.lock").read_bytes() if (root / "dvc.lock").is_file() else None
        try:
            _git(tree, "checkout", "--quiet", "--force", "--detach", snapshot)
        except MartletError:
            pass
        else:
            if lock is not None:
                (root / "dvc.lock").write_bytes(lock)
            return
    remove_tree(top, tree)
    _git(top, "worktree", "add", "--detach", str(tree), snapshot)


def remove_tree(repository: Path, tree: Path) -> None:
    """Remove a worktree in whatever state it is."""
    shutil.rmtree(tree, ignore_errors=True)
    _git(repository, "worktree", "prune")


def _share_cache(workspace: Path, root: Path) -> None:
    from dvc.config import Config
    from dvc.config_schema import RelPath

    if (workspace / ".dvc/config.local").is_file():
        shutil.copy2(workspace / ".dvc/config.local", root / ".dvc/config.local")
    # A RelPath is written relative to the file: DVC writes ASCII, and a workspace's path may have other letters.
    cache = RelPath(Pipeline(workspace).cache)
    with Config(dvc_dir=str(root / ".dvc")).edit("local") as local:
        local["cache"] = {"dir": cache, "type": "reflink,hardlink,copy"}  # type: ignore[index]
    Pipeline(root).restore()


def _write_changes(file: Path, changes: Changes) -> None:
    """Write `changes` into a `params.yaml`; comments and order stay."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    document = (yaml.load(file) if file.is_file() else None) or {}
    for group, values in changes.items():
        section = document.get(group)
        if not isinstance(section, dict):  # absent, or a parameter named like its group: `model: models/base`
            section = document[group] = {} if section is None else {group: section}
        groups = {name: mapping for name, mapping in document.items() if name in GROUPS and isinstance(mapping, dict)}
        for mapping in (document, *groups.values()):
            for key in [key for key in mapping if CANONICAL.get(key) in values]:
                is_group = mapping is document and key in groups
                is_in_place = mapping is section and key in values
                if not (is_group or is_in_place):  # the parameter stands outside its group, or as an alias
                    del mapping[key]
        section.update(values)
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(document, stream)


def keep(workspace: Path, name: str) -> None:
    """Keep the files of the last run in the workspace as `.runs/history/NAME`."""
    git_ignored(workspace / RUNS)
    _copy_to_history(workspace, workspace / HISTORY / name)


def _copy_to_history(root: Path, history: Path) -> None:
    history.mkdir(parents=True, exist_ok=True)
    for name in HISTORY_FILES:
        if (root / name).is_dir():
            shutil.copytree(root / name, history / name, dirs_exist_ok=True, copy_function=_copy)
        elif (root / name).is_file():
            (history / name).parent.mkdir(parents=True, exist_ok=True)
            _copy(root / name, history / name)


def _copy(source: str | Path, target: str | Path) -> None:
    """Copy a file with its times, but not its permissions: DVC's files are read-only."""
    shutil.copyfile(source, target)
    times = Path(source).stat()
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))


def _git(folder: Path, *words: str) -> str:
    """Run git and return its output, without the repository's hooks: those of DVC would check out every output."""
    command = ["git", "-C", str(folder), "-c", f"core.hooksPath={os.devnull}", *words]
    try:
        result = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise ConfigError("git is not installed; a run with other parameters needs it") from error
    if result.returncode:
        raise MartletError(f"git {words[0]}: {result.stderr.strip() or result.returncode}")
    return result.stdout.strip()
