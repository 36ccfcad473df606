"""One run per workspace or work tree: whoever holds its lock may work there, with all stages that it started."""

import fcntl
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.errors import MartletError

DYING = 60.0
"""Seconds to wait for the stages of a run that was killed; their leash ends them after their grace."""


@contextmanager
def claim(root: Path, who: str) -> Generator[int]:
    """Hold `.martlet/run.lock`. The kernel frees it when this process and every stage that inherited it are gone."""
    file = private(root / ".martlet") / "run.lock"
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


def private(folder: Path) -> Path:
    """A folder that git does not see, whatever the project's `.gitignore` says."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".gitignore").exists():
        (folder / ".gitignore").write_text("*\n")
    return folder
