"""The lock of a workspace or worktree: one run at a time, with all stages that it started."""

import fcntl
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.errors import MartletError

KILLED_RUN_WAIT_S = 60.0
"""Seconds to wait for the stages of a run that was killed; their leash ends them after their grace."""


@contextmanager
def claim(root: Path, who: str) -> Generator[int]:
    """Hold `.martlet/run.lock` for the run `who`, and yield the file descriptor of the lock.

    Stages inherit the descriptor: the kernel frees the lock when this process and all of its stages have ended.

    Raises:
        MartletError: another run holds the lock.
    """
    file = git_ignored(root / ".martlet") / "run.lock"
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + KILLED_RUN_WAIT_S
        while not _try_lock(lock):
            owner = _owner(file)
            if time.monotonic() > deadline or _is_alive(owner.get("pid")):
                raise MartletError(_busy_message(root, owner))
            time.sleep(0.05)
        owner = json.dumps({"pid": os.getpid(), "since": time.time(), "who": who}).encode()
        os.ftruncate(lock, 0)
        os.pwrite(lock, owner, 0)
        _clear_stale_locks(root)
        yield lock
    finally:
        os.close(lock)


def is_claimed(root: Path) -> bool:
    """Return whether a run that goes on holds `root`; the stages of a killed run end by themselves."""
    return owner_of(root) is not None


def owner_of(root: Path) -> dict[str, Any] | None:
    """Return the `pid`, the `who` and the `since` (seconds since 1970) of the run that holds `root`, or None."""
    file = root / ".martlet/run.lock"
    if not file.is_file():
        return None
    lock = os.open(file, os.O_RDWR)
    try:
        owner = _owner(file) or {"pid": None, "since": time.time(), "who": "a run that starts"}
        return None if _try_lock(lock) or not _is_alive(owner["pid"]) else owner
    finally:
        os.close(lock)


def _owner(file: Path) -> dict[str, Any]:
    """Return who holds a lock, empty where the entry is not there yet or is damaged."""
    try:
        owner = json.loads(file.read_text())
        return owner if {"pid", "since", "who"} <= owner.keys() else {}
    except (ValueError, AttributeError):
        return {}


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: int | None) -> bool:
    """Return whether a process exists; True for None, an owner whose entry is not yet in the file."""
    if pid is None:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _busy_message(root: Path, owner: dict[str, Any]) -> str:
    if "pid" not in owner:
        return f"another run is starting in {root}; try again in a moment"
    since = time.strftime("%H:%M:%S", time.localtime(owner["since"]))
    return (
        f"another run works in {root}: {owner['who']} (pid {owner['pid']}, since {since}); wait for it, or stop it "
        f"with `kill {owner['pid']}`. A run with other parameters (`martlet run key=value`) may go on beside it"
    )


def _clear_stale_locks(root: Path) -> None:
    """Remove DVC's list of busy paths (.dvc/tmp/rwlock), unless a process in the list is alive and is dvc: process ids
    repeat in containers."""
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
    except ValueError:  # the writer of the file was killed
        holders = []
    for pid in {holder["pid"] for holder in holders}:
        try:
            if pid != os.getpid() and any("dvc" in word for word in psutil.Process(pid).cmdline()):
                return
        except psutil.Error:
            continue
    file.unlink(missing_ok=True)


def git_ignored(folder: Path) -> Path:
    """Make `folder` with a `.gitignore` of its own, so that git does not see it; return `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".gitignore").exists():
        (folder / ".gitignore").write_text("*\n")
    return folder
