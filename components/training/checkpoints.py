"""Checkpoints that are complete or absent.

A checkpoint is sealed with a manifest as its last file. Whatever has none, or does not hold what its manifest says, was
cut off while it was written.
"""

import fcntl
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from components.errors import ConfigError, MartletError
from components.files import MANIFEST, is_complete, read_json, sha256, sha256_of

FINISHED = "finished.json"
DECIDING = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "seed",
    "packing",
    "packing_length",
    "packing_strategy",
    "group_by_length",
)
"""Parameters of training without which a position in the data means something else."""
PARTS_BY_NAME = ("code.", "methods.", "parameters.")
"""Parts of what a run is made of whose entries are full names already."""
SHARED_GROUPS = ("model", "method", "tuner", "lora", "quantization", "stream")
"""Groups of parameters that a run and the checkpoint it goes on from must have in common."""


def fingerprint(made_of: dict[str, Any]) -> str:
    """Return a hash of all that decides a run's weights. A run may go on from a checkpoint of the same fingerprint."""
    return sha256_of(made_of)[:16]


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return what differs between two records of what a run is made of: `train.learning_rate 0.01 → 0.02`."""
    old, new = _leaves(before), _leaves(now)
    sentences = []
    for name in dict.fromkeys([*new, *old]):
        if old.get(name) != new.get(name):
            part = name.partition(".")[2] if name.startswith(PARTS_BY_NAME) else name
            hashed = _is_hash(old.get(name)) or _is_hash(new.get(name))
            sentences.append(
                f"{part} changed" if hashed else f"{part} {old.get(name, 'default')} → {new.get(name, 'default')}"
            )
    return sentences


def _leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        leaves |= _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and all(c in "0123456789abcdef" for c in value)


@contextmanager
def held(folder: Path) -> Generator[None]:
    """Hold `folder` against other runs; a process that dies lets go.

    Raises:
        MartletError: another process trains into the same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / ".lock"
    with lock.open("w") as stream:
        try:
            # A record lock, because a loader's workers would inherit any other and outlive a process that is killed.
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MartletError(f"{folder}: another process trains with the same inputs; wait, or stop it") from None
        try:
            yield
        finally:
            if all(file == lock for file in folder.iterdir()):  # nothing was trained
                lock.unlink()
                folder.rmdir()
                with suppress(OSError):  # other runs have checkpoints there
                    folder.parent.rmdir()


def step_of(folder: Path) -> int:
    """`checkpoint-120` → 120."""
    return int(folder.name.rpartition("-")[2])


def all_in(folder: Path) -> list[Path]:
    """The checkpoints below `folder`, complete or not, oldest first."""
    return sorted((p for p in folder.glob("checkpoint-*") if p.name[11:].isdigit()), key=step_of)


def choose_start(
    folder: Path,
    made_of: dict[str, Any],
    arguments: dict[str, Any],
    resume_from: Path | None,
    say: Callable[[str], None],
    runs: Path | None = None,
) -> Path | None:
    """Return the checkpoint to go on from: `resume_from`, or the newest whole one of this run in `folder`, or None.

    Later checkpoints, and those that are not whole, are removed and said. Where a run of the folder `runs` was
    interrupted and was made of something else, what changed is said.

    Raises:
        ConfigError: `resume_from` is incomplete or of another run, or `folder` holds checkpoints of another run.
    """
    if resume_from:
        check_given(resume_from, arguments)
    start = resume_from or newest_intact(folder, made_of, say)
    if start:
        say(f"going on from {start.name}")
        drop_later(folder, start, say)
    elif runs and (other := _interrupted(runs)):
        changed = changes(read_json(other / MANIFEST).get("made_of", {}), made_of)
        say(f"{other.name} of an interrupted run is not used, because {listed(changed)}: training starts anew")
    return start


def newest_intact(folder: Path, made_of: dict[str, Any], say: Callable[[str], None]) -> Path | None:
    """Return the newest checkpoint of this run that is whole, or None; newer ones that are not are said and removed.

    Raises:
        ConfigError: the folder holds checkpoints of a run with other inputs; the message says what changed.
    """
    for checkpoint in reversed(all_in(folder)):
        if not _intact(checkpoint):
            say(f"{checkpoint.name} was cut off while it was written; it is skipped and removed")
            shutil.rmtree(checkpoint)
        elif (sealed := read_json(checkpoint / MANIFEST)).get("run") != fingerprint(made_of):
            changed = listed(changes(sealed.get("made_of", {}), made_of))
            raise ConfigError(
                f"{folder} holds {checkpoint.name} of a run with other data or parameters ({changed}); give another "
                f"--output_dir, or go on from it with --resume_from_checkpoint {checkpoint}"
            )
        else:
            return checkpoint
    return None


def _interrupted(runs: Path) -> Path | None:
    """Return the newest checkpoint of a run that did not finish, among the folders in `runs`."""
    unfinished = [
        checkpoint
        for run in runs.glob("*")
        if not (run / FINISHED).exists()
        for checkpoint in all_in(run)[-1:]
        if is_complete(checkpoint)
    ]
    return max(unfinished, key=lambda checkpoint: (checkpoint / MANIFEST).stat().st_mtime, default=None)


def listed(names: list[str], most: int = 4) -> str:
    """Return `a, b and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def check_given(checkpoint: Path, arguments: dict[str, Any]) -> None:
    """Check that a run with `arguments` can go on from a checkpoint that the user names.

    Raises:
        ConfigError: it is not there, is incomplete, or was made with another model, tuner or batch.
    """
    if not _intact(checkpoint):
        raise ConfigError(f"resume_from_checkpoint: {checkpoint} is not a complete checkpoint; name an earlier one")
    saved = read_json(checkpoint / "args.json")
    problems = [
        f"{group}.{key} was {saved.get(group, {}).get(key)!r} and is {value!r}"
        for group, keys in (*((name, None) for name in SHARED_GROUPS), ("train", DECIDING))
        for key, value in arguments.get(group, {}).items()
        if (keys is None or key in keys) and saved.get(group, {}).get(key) != value
    ]
    if problems:
        raise ConfigError("\n  ".join([f"resume_from_checkpoint: {checkpoint} belongs to another run:", *problems]))


def drop_later(folder: Path, start: Path, say: Callable[[str], None]) -> None:
    """Going on from a checkpoint of `folder`, remove the later ones there: those steps are taken anew."""
    for checkpoint in all_in(folder):
        if start.resolve().parent == folder.resolve() and step_of(checkpoint) > step_of(start):
            say(f"{checkpoint.name} comes after it and is removed")
            shutil.rmtree(checkpoint)


def best_step(history: list[dict[str, Any]], steps: list[int]) -> int | None:
    """Of the checkpointed `steps`, the one with the lowest eval loss in the trainer's history; of equals the first."""
    losses = {entry["step"]: entry["eval_loss"] for entry in history if "eval_loss" in entry}
    return min((step for step in steps if step in losses), key=lambda step: (losses[step], step), default=None)


def rotate(folder: Path, history: list[dict[str, Any]], limit: int | None) -> None:
    """Remove the oldest checkpoints beyond `limit`; the newest and the best always stay."""
    checkpoints = all_in(folder)
    best = best_step(history, [step_of(checkpoint) for checkpoint in checkpoints])
    spare = [checkpoint for checkpoint in checkpoints[:-1] if step_of(checkpoint) != best]
    for checkpoint in spare[: max(0, len(checkpoints) - limit) if limit else 0]:
        shutil.rmtree(checkpoint)


def tidy(folder: Path, history: list[dict[str, Any]]) -> None:
    """After success in a workspace: keep this run's best and last checkpoint, and none of runs that finished before.

    Runs that did not finish keep theirs, because they may go on.
    """
    rotate(folder, history, 1)
    for marker in folder.parent.glob(f"*/{FINISHED}"):
        if marker.parent != folder:
            shutil.rmtree(marker.parent, ignore_errors=True)
    (folder / FINISHED).touch()


def _intact(folder: Path) -> bool:
    if not is_complete(folder):
        return False
    files = read_json(folder / MANIFEST)["files"]
    return all(sha256(folder / name) == entry["sha256"] for name, entry in files.items())
