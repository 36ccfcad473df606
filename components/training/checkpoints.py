"""Checkpoints of a run: the choice of the checkpoint to resume from, and the removal of others.

A checkpoint is sealed with a manifest as its last file. A checkpoint without a manifest, or with files that differ from
the manifest, was interrupted while it was written.
"""

import fcntl
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from components.errors import ConfigError, MartletError
from components.files import MANIFEST, is_complete, read_json, sha256, sha256_of

FINISHED_MARKER = "finished.json"
POSITION_PARAMETERS = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "seed",
    "packing",
    "packing_length",
    "packing_strategy",
    "group_by_length",
)
"""Parameters of `train` that decide which rows a step has: a checkpoint's position in the data depends on them."""
FULL_NAME_PARTS = ("code.", "methods.", "parameters.")
"""Parts of `made_of` whose keys are full names; the prefix is left out in messages."""
SHARED_GROUPS = ("model", "method", "tuner", "lora", "quantization", "stream")
"""Groups of arguments that must be the same in a run and in the checkpoint that it resumes from."""


def fingerprint(made_of: dict[str, Any]) -> str:
    """Return a hash of `made_of`, all that decides a run's weights. Runs with equal hashes share checkpoints."""
    return sha256_of(made_of)[:16]


def changes(old_run: dict[str, Any], new_run: dict[str, Any]) -> list[str]:
    """Return a line for each difference between the `made_of` of two runs: `train.learning_rate 0.01 → 0.02`."""
    old, new = _leaves(old_run), _leaves(new_run)
    lines = []
    for name in dict.fromkeys([*new, *old]):
        before, now = old.get(name, "default"), new.get(name, "default")
        if old.get(name) != new.get(name):
            part = name.partition(".")[2] if name.startswith(FULL_NAME_PARTS) else name
            lines.append(f"{part} changed" if _is_hash(before) or _is_hash(now) else f"{part} {before} → {now}")
    return lines


def _leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        leaves |= _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and all(c in "0123456789abcdef" for c in value)


@contextmanager
def held(folder: Path) -> Generator[None]:
    """Hold the lock of `folder` against other runs; the lock ends with the process.

    Raises:
        MartletError: another process trains into the same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / ".lock"
    with lock.open("w") as stream:
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
    return sorted((p for p in folder.glob("checkpoint-*") if p.name[11:].isdigit()), key=step_of)


def choose_start(
    folder: Path,
    made_of: dict[str, Any],
    arguments: dict[str, Any],
    resume_from: Path | None,
    say: Callable[[str], None],
    runs: Path | None = None,
) -> Path | None:
    """Return the checkpoint to resume from: `resume_from`, or the newest intact checkpoint in `folder`, or None.

    Later checkpoints and incomplete ones are removed. `say` gets a line for each, and, if the training starts anew
    although a run in the folder `runs` was interrupted, a line with what changed since.

    Raises:
        ConfigError: `resume_from` is incomplete or of another run, or `folder` holds checkpoints of another run.
    """
    if resume_from:
        check_resumable(resume_from, arguments)
    start = resume_from or newest_intact(folder, made_of, say)
    if start:
        say(f"going on from {start.name}")
        drop_later(folder, start, say)
    elif runs and (other := _interrupted(runs)):
        reasons = listed(changes(read_json(other / MANIFEST).get("made_of", {}), made_of))
        say(f"{other.name} of an interrupted run is not used, because {reasons}: training starts anew")
    return start


def newest_intact(folder: Path, made_of: dict[str, Any], say: Callable[[str], None]) -> Path | None:
    """Return the newest intact checkpoint of this run, or None; newer checkpoints are removed, with a line to `say`.

    Raises:
        ConfigError: the folder holds checkpoints of a run with other inputs; the message names the differences.
    """
    for checkpoint in reversed(all_in(folder)):
        if not _intact(checkpoint):
            say(f"{checkpoint.name} was cut off while it was written; it is skipped and removed")
            shutil.rmtree(checkpoint)
        elif (manifest := read_json(checkpoint / MANIFEST)).get("run") != fingerprint(made_of):
            differences = listed(changes(manifest.get("made_of", {}), made_of))
            raise ConfigError(
                f"{folder} holds {checkpoint.name} of a run with other data or parameters ({differences}); choose "
                f"another --output_dir, or resume with --resume_from_checkpoint {checkpoint}"
            )
        else:
            return checkpoint
    return None


def _interrupted(runs: Path) -> Path | None:
    """Return the newest checkpoint of a run that did not finish, among the folders in `runs`."""
    unfinished = [
        checkpoint
        for run in runs.glob("*")
        if not (run / FINISHED_MARKER).exists()
        for checkpoint in all_in(run)[-1:]
        if is_complete(checkpoint)
    ]
    return max(unfinished, key=lambda checkpoint: (checkpoint / MANIFEST).stat().st_mtime, default=None)


def listed(names: list[str], most: int = 4) -> str:
    """Return `a, b and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def check_resumable(checkpoint: Path, arguments: dict[str, Any]) -> None:
    """Check that a run with `arguments` can resume from `checkpoint`.

    Raises:
        ConfigError: the checkpoint is missing or incomplete, or its run had another model, tuner or batch.
    """
    if not _intact(checkpoint):
        raise ConfigError(f"resume_from_checkpoint: {checkpoint} is not a complete checkpoint; name an earlier one")
    saved = read_json(checkpoint / "args.json")
    problems = [
        f"{group}.{key} was {saved.get(group, {}).get(key)!r} and is {value!r}"
        for group, keys in (*((name, None) for name in SHARED_GROUPS), ("train", POSITION_PARAMETERS))
        for key, value in arguments.get(group, {}).items()
        if (keys is None or key in keys) and saved.get(group, {}).get(key) != value
    ]
    if ("stream" in saved) != ("stream" in arguments):
        problems.append(f"data.streaming was {'stream' in saved} and is {'stream' in arguments}")
    if problems:
        raise ConfigError("\n  ".join([f"resume_from_checkpoint: {checkpoint} belongs to another run:", *problems]))


def drop_later(folder: Path, start: Path, say: Callable[[str], None]) -> None:
    """Remove the checkpoints of `folder` after `start`, if `start` is in `folder`: their steps are trained again."""
    for checkpoint in all_in(folder):
        if start.resolve().parent == folder.resolve() and step_of(checkpoint) > step_of(start):
            say(f"{checkpoint.name} comes after it and is removed")
            shutil.rmtree(checkpoint)


def best_step(history: list[dict[str, Any]], steps: list[int]) -> int | None:
    """Return the step of `steps` with the lowest eval loss in the trainer's history, the first of equal ones."""
    losses = {entry["step"]: entry["eval_loss"] for entry in history if "eval_loss" in entry}
    return min((step for step in steps if step in losses), key=lambda step: (losses[step], step), default=None)


def rotate(folder: Path, history: list[dict[str, Any]], limit: int | None) -> None:
    """Remove the oldest checkpoints until `limit` remain; the newest and the best always stay."""
    checkpoints = all_in(folder)
    best = best_step(history, [step_of(checkpoint) for checkpoint in checkpoints])
    candidates = [checkpoint for checkpoint in checkpoints[:-1] if step_of(checkpoint) != best]
    for checkpoint in candidates[: max(0, len(checkpoints) - limit) if limit else 0]:
        shutil.rmtree(checkpoint)


def tidy(folder: Path, history: list[dict[str, Any]]) -> None:
    """Mark the run of `folder` as finished, and keep only its best and last checkpoint.

    The checkpoints of other finished runs in the workspace are removed; unfinished runs keep theirs, to resume from.
    """
    rotate(folder, history, 1)
    for marker in folder.parent.glob(f"*/{FINISHED_MARKER}"):
        if marker.parent != folder:
            shutil.rmtree(marker.parent, ignore_errors=True)
    (folder / FINISHED_MARKER).touch()


def _intact(folder: Path) -> bool:
    if not is_complete(folder):
        return False
    files = read_json(folder / MANIFEST)["files"]
    return all(sha256(folder / name) == entry["sha256"] for name, entry in files.items())
