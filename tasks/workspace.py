"""Where a run works: in place, one at a time, or in a git worktree of its own, which shares DVC's cache."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from components.config import CANONICAL, GROUPS, LEAVES, Layer, Params
from components.errors import ConfigError, EvaluationGateError, MartletError
from tasks.claim import claim, private
from tasks.plan import Changes, Pipeline
from tasks.stages.paths import Paths

RUNS = ".runs"
HISTORY = f"{RUNS}/history"
BROUGHT_HOME = ("params.yaml", "dvc.lock", "metrics.json", "reports")


class Place(NamedTuple):
    """The folders of a run, and the descriptor of the lock that its stages inherit."""

    paths: Paths
    lock: int


def changes_of(params: Params, layers: Iterable[Layer]) -> dict[str, dict[str, Any]]:
    """What `layers` gave, by group and leaf, as plain values of the resolved `params`."""
    values = params.model_dump(mode="json")
    changes: dict[str, dict[str, Any]] = {}
    for leaf in (LEAVES[name] for layer in layers for name in layer.values):
        changes.setdefault(leaf.group, {})[leaf.name] = values[leaf.group][leaf.name]
    return changes


@contextmanager
def in_place(workspace: Path, who: str) -> Generator[Place]:
    """Work in the workspace itself.

    Raises:
        MartletError: another run is at work there; the message says which.
    """
    with claim(workspace, who) as lock:
        yield Place(Paths(workspace, workspace), lock)


@contextmanager
def apart(workspace: Path, name: str, who: str, changes: Changes) -> Generator[Place]:
    """Work in the git worktree `.runs/NAME`: the workspace as it looks now, with `changes` in its `params.yaml`.

    When the run is complete, promoted or not, its parameters, lock, metrics and reports are kept in
    `.runs/history/NAME` and the tree is removed; after a failure the tree stays, and a run of that name goes on in it.

    Raises:
        ConfigError: the workspace is not in a git repository, or in one without a commit.
    """
    tree = workspace / RUNS / name
    top, root = _make_tree(workspace, tree)
    _change(root / "params.yaml", changes)
    closed: EvaluationGateError | None = None
    try:
        with claim(root, who) as lock:
            yield Place(Paths(root, workspace), lock)
    except EvaluationGateError as error:
        closed = error
    _bring_home(root, workspace / HISTORY / name)
    _git(top, "worktree", "remove", "--force", str(tree))
    if closed:
        raise closed


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
    root = tree / workspace.resolve().relative_to(top)
    if tree.exists():
        return top, root
    private(workspace / RUNS)
    with (private(workspace / ".martlet") / "worktrees.lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        _git(top, "worktree", "prune")
        # `status` renews git's view of the files first: where that is stale, `stash create` fails without a word.
        snapshot = head
        if _git(top, "status", "--porcelain", "--untracked-files=no"):
            snapshot = _git(top, "stash", "create")
        _git(top, "worktree", "add", "--detach", str(tree), snapshot)
        for name in _git(top, "ls-files", "-z", "--others", "--exclude-standard").split("\0"):
            if name and not name.endswith("/"):
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(top / name, tree / name, follow_symlinks=False)
    _share_cache(workspace, root)
    return top, root


def _share_cache(workspace: Path, root: Path) -> None:
    from dvc.config import Config

    if (workspace / ".dvc/config.local").is_file():
        shutil.copy2(workspace / ".dvc/config.local", root / ".dvc/config.local")
    with Config(dvc_dir=str(root / ".dvc")).edit("local") as local:
        local["cache"] = {"dir": str(Pipeline(workspace).cache), "type": "reflink,hardlink,copy"}  # type: ignore[index]
    Pipeline(root).restore()


def _change(file: Path, changes: Changes) -> None:
    """Write `changes` into a `params.yaml`, keeping its comments and order."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    document = (yaml.load(file) if file.is_file() else None) or {}
    for group, values in changes.items():
        section = document[group] = document.get(group) or {}
        for mapping in (document, *(other for name, other in document.items() if name in GROUPS and other)):
            for key in [key for key in mapping if CANONICAL.get(key) in values]:
                if mapping is not section or key not in values:  # outside of its group, or by another of its names
                    del mapping[key]
        section.update(values)
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(document, stream)


def _bring_home(root: Path, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    for name in BROUGHT_HOME:
        if (root / name).is_dir():
            shutil.copytree(root / name, home / name, dirs_exist_ok=True, copy_function=shutil.copyfile)
        elif (root / name).is_file():
            shutil.copyfile(root / name, home / name)


def _git(folder: Path, *words: str) -> str:
    """Run git without the repository's hooks: DVC's own would check out every output."""
    command = ["git", "-C", str(folder), "-c", f"core.hooksPath={os.devnull}", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise ConfigError("git is not installed, and a run with other parameters needs it") from error
    if done.returncode:
        raise MartletError(f"git {words[0]}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()
