"""Checkpoints of a run: the choice of the checkpoint to go on from, and the removal of others.

A checkpoint is sealed with a manifest as its last file. A checkpoint without a manifest, or with files that differ from
the manifest, was interrupted while it was written.
"""

import fcntl
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from components.errors import MartletError
from components.files import MANIFEST, read_json
from components.training.best import LOSS, Measure
from components.training.engines._state import check_engine
from components.training.intact import is_checkpoint, is_sealed
from components.training.resuming import changes, check_resumable, check_same_run, is_last, listed

FINISHED_MARKER = "finished.json"


@contextmanager
def held(folder: Path) -> Generator[None]:
    """Hold the lock of `folder` against other runs; the lock ends with the process.

    Raises:
        MartletError: another process trains into the same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / ".lock"
    with lock.open("a") as stream:
        try:
            # A record lock: the workers of a data loader would inherit any other, and may outlive a killed process.
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MartletError(f"{folder}: another process trains into this folder; wait for it, or stop it") from None
        try:
            yield
        finally:
            if all(file == lock for file in folder.iterdir()):  # nothing was trained
                lock.unlink()
                folder.rmdir()
                with suppress(OSError):  # other runs have checkpoints there
                    folder.parent.rmdir()


def step_of(folder: Path) -> int:
    """Return the step of a checkpoint folder: 120 of `checkpoint-120`."""
    return int(folder.name.rpartition("-")[2])


def all_in(folder: Path) -> list[Path]:
    """Return the checkpoints below `folder`, complete or not, oldest first."""
    return sorted((p for p in folder.glob("checkpoint-*") if p.name[11:].isdecimal()), key=step_of)


def check_start(
    folder: Path,
    made_of: dict[str, Any],
    arguments: dict[str, Any],
    resume_from: Path | None,
    rows: dict[str, Any] | None = None,
) -> bool:
    """Check that a run can go on from `resume_from`, or from what is in `folder`; nothing is changed.

    Args:
        rows: the settings that the rows came by, in groups, for the message.

    Returns:
        Whether it would go on from its own last step.

    Raises:
        ConfigError: `resume_from` is incomplete or of another run, or `folder` holds checkpoints of another run, or
            their optimizer's state is another engine's.
    """
    newest = next((checkpoint for checkpoint in reversed(all_in(folder)) if is_sealed(checkpoint)), None)
    if resume_from:
        check_resumable(resume_from, made_of, arguments, rows or {})
    elif newest:
        check_same_run(newest, made_of, arguments, rows or {})
    if start := resume_from or newest:
        check_engine(start, arguments)
    return newest is not None and resume_from in (None, newest) and is_last(newest, made_of)


def choose_start(
    folder: Path,
    made_of: dict[str, Any],
    arguments: dict[str, Any],
    resume_from: Path | None,
    say: Callable[[str], None],
    runs: Path | None = None,
) -> Path | None:
    """Return the checkpoint to resume from: `resume_from`, or the newest intact checkpoint in `folder`, or None.

    Newer checkpoints that are not intact are removed or set aside, unless `resume_from` is named. `say` gets a line for
    each, and a line with what changed if the training starts anew although a run in the folder `runs` was interrupted.

    Raises:
        ConfigError: as `check_start`.
    """
    check_start(folder, made_of, arguments, resume_from)
    start = resume_from or newest_intact(folder, say)
    if start:
        say(f"going on from {start.name}")
    elif runs and (other := _interrupted(runs)):
        reasons = listed(changes(read_json(other / MANIFEST)["made_of"], made_of))
        say(f"{other.name} of an interrupted run is not used, because {reasons}: training starts anew")
    return start


def newest_intact(folder: Path, say: Callable[[str], None]) -> Path | None:
    """Return the newest intact checkpoint in `folder`, or None; newer ones are removed, or set aside where they were
    whole once, with a line to `say`."""
    for checkpoint in reversed(all_in(folder)):
        if is_checkpoint(checkpoint):
            return checkpoint
        if (checkpoint / MANIFEST).is_file():
            say(f"{checkpoint.name} was damaged or edited since it was written; {_set_aside(folder, [checkpoint])}")
        else:
            say(f"{checkpoint.name} was cut off while it was written; it is removed")
            shutil.rmtree(checkpoint)
    return None


def _interrupted(runs: Path) -> Path | None:
    """Return the newest checkpoint of a run that did not finish, among the folders in `runs`."""
    unfinished = [
        checkpoint
        for run in runs.glob("*")
        if not (run / FINISHED_MARKER).exists()
        for checkpoint in all_in(run)[-1:]
        if is_sealed(checkpoint)
    ]
    return max(unfinished, key=lambda checkpoint: (checkpoint / MANIFEST).stat().st_mtime, default=None)


def set_aside_later(folder: Path, start: Path | None, say: Callable[[str], None]) -> None:
    """Move the checkpoints of `folder` after `start` into `folder`/aside, or aside-2, …: their steps are trained again,
    perhaps otherwise."""
    later = [checkpoint for checkpoint in all_in(folder) if start and step_of(checkpoint) > step_of(start)]
    if not (later and start and start.resolve().parent == folder.resolve()):
        return
    names = listed([checkpoint.name for checkpoint in later])
    say(f"{names} of the steps after {start.name}: {_set_aside(folder, later)}")


def _set_aside(folder: Path, checkpoints: list[Path]) -> str:
    """Move checkpoints to `folder`/aside, or aside-2, …, and return words that say so."""
    aside = folder / "aside"
    while aside.exists():
        aside = folder / f"aside-{int(aside.name.partition('-')[2] or 1) + 1}"
    aside.mkdir()
    for checkpoint in checkpoints:
        checkpoint.rename(aside / checkpoint.name)
    return f"moved to {aside}"


def rotate(folder: Path, history: list[dict[str, Any]], limit: int | None, measure: Measure = LOSS) -> None:
    """Remove the oldest checkpoints until `limit` remain; the newest and the best always stay."""
    checkpoints = all_in(folder)
    best = measure.best_step(history, [step_of(checkpoint) for checkpoint in checkpoints])
    candidates = [checkpoint for checkpoint in checkpoints[:-1] if step_of(checkpoint) != best]
    for checkpoint in candidates[: max(0, len(checkpoints) - limit) if limit else 0]:
        shutil.rmtree(checkpoint)


def tidy(folder: Path, history: list[dict[str, Any]], measure: Measure = LOSS) -> None:
    """Mark the run of `folder` as finished, and keep only its best and last checkpoint.

    The checkpoints of other finished runs in the workspace are removed; unfinished runs keep theirs, to resume from.
    """
    rotate(folder, history, 1, measure)
    for marker in folder.parent.glob(f"*/{FINISHED_MARKER}"):
        if marker.parent != folder:
            shutil.rmtree(marker.parent, ignore_errors=True)
    (folder / FINISHED_MARKER).touch()
