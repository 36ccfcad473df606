"""Where a run works: in place, one at a time, or in a git worktree of its own, which shares DVC's cache."""

import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from components.config import CANONICAL, LEAVES, Layer, Params
from components.errors import ConfigError, EvaluationGateError, MartletError
from tasks.plan import Changes, Pipeline
from tasks.stages.paths import Paths

RUNS = ".runs"
HISTORY = f"{RUNS}/history"
BROUGHT_HOME = ("params.yaml", "dvc.lock", "metrics.json", "reports")
DYING = 60.0
"""Seconds to wait for the stages of a run that was killed; their leash ends them after their grace."""


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
    with _claim(workspace, who) as lock:
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
        with _claim(root, who) as lock:
            yield Place(Paths(root, workspace), lock)
    except EvaluationGateError as error:
        closed = error
    _bring_home(root, workspace / HISTORY / name)
    _git(top, "worktree", "remove", "--force", str(tree))
    if closed:
        raise closed


@contextmanager
def _claim(root: Path, who: str) -> Generator[int]:
    """Hold `.martlet/run.lock`. The kernel frees it when this process and every stage that inherited it are gone."""
    file = _private(root / ".martlet") / "run.lock"
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + DYING
        while not _locked(lock):
            owner = json.loads(file.read_text() or "{}")
            if time.monotonic() > deadline or _lives(owner.get("pid")):
                raise MartletError(_busy(root, owner))
            time.sleep(0.05)
        note = json.dumps({"pid": os.getpid(), "since": time.time(), "who": who}).encode()
        os.ftruncate(lock, 0)
        os.pwrite(lock, note, 0)
        _clear_stale_locks(root)
        yield lock
    finally:
        os.close(lock)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(pid: int | None) -> bool:
    """False for a process that is gone. An owner that has not signed yet counts as alive."""
    if pid is None:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _busy(root: Path, owner: dict[str, Any]) -> str:
    if "pid" not in owner:
        return f"another run is just starting in {root}; try again in a moment"
    since = time.strftime("%H:%M:%S", time.localtime(owner["since"]))
    return (
        f"another run works in {root}: {owner['who']} (pid {owner['pid']}, since {since}); wait for it, or stop it "
        f"with `kill {owner['pid']}`. A run with other parameters (`martlet run key=value`) may go on beside it"
    )


def _clear_stale_locks(root: Path) -> None:
    """Remove DVC's list of busy paths unless a dvc process that it names is alive: pids repeat in containers."""
    import psutil

    file = root / ".dvc/tmp/rwlock"
    try:
        busy = json.loads(file.read_text())
        holders = [
            *busy.get("write", {}).values(),
            *(entry for each in busy.get("read", {}).values() for entry in each),
        ]
    except FileNotFoundError:
        return
    except ValueError:  # cut short by a kill
        holders = []
    for pid in {holder["pid"] for holder in holders}:
        try:
            if pid != os.getpid() and any("dvc" in word for word in psutil.Process(pid).cmdline()):
                return
        except psutil.Error:
            continue
    file.unlink(missing_ok=True)


def _private(folder: Path) -> Path:
    """A folder that git does not see, whatever the project's `.gitignore` says."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".gitignore").exists():
        (folder / ".gitignore").write_text("*\n")
    return folder


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
    _private(workspace / RUNS)
    with (_private(workspace / ".martlet") / "worktrees.lock").open("w") as one_at_a_time:
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
        for mapping in (document, section):
            for key in [key for key in mapping if CANONICAL.get(key) in values]:
                if mapping is document or key not in values:  # written outside its group, or by another of its names
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
