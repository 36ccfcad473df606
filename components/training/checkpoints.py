"""Checkpoints that are complete or absent.

A checkpoint is sealed with a manifest as its last file. Whatever has none, or does not hold what its manifest says, was
cut off while it was written.
"""

import fcntl
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.metadata import version
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


def fingerprint(*inputs: Any) -> str:
    """Hash everything that decides a run: `inputs` (JSON-able), the code of the components, the libraries' versions.

    A run with the same fingerprint may go on from another's checkpoint.
    """
    components = Path(__file__).parents[1]
    code = {
        str(file.relative_to(components)): sha256(file)
        for name in ("models", "tuners", "training")
        for file in sorted((components / name).rglob("*.py"))
    }
    libraries = {name: version(name) for name in ("torch", "transformers", "peft", "accelerate")}
    return sha256_of([list(inputs), code, libraries])[:16]


@contextmanager
def held(folder: Path) -> Generator[None]:
    """Hold `folder` against other runs; a process that dies lets go.

    Raises:
        MartletError: another process trains into the same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as stream:
        try:
            # A record lock, because a loader's workers would inherit any other and outlive a process that is killed.
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MartletError(f"{folder}: another process trains with the same inputs; wait, or stop it") from None
        yield


def step_of(folder: Path) -> int:
    """`checkpoint-120` → 120."""
    return int(folder.name.rpartition("-")[2])


def all_in(folder: Path) -> list[Path]:
    """The checkpoints below `folder`, complete or not, oldest first."""
    return sorted((p for p in folder.glob("checkpoint-*") if p.name[11:].isdigit()), key=step_of)


def newest_intact(folder: Path, run: str, say: Callable[[str], None]) -> Path | None:
    """Return the newest checkpoint of this run that is whole, or None; newer ones that are not are said and removed.

    Raises:
        ConfigError: the folder holds checkpoints of a run with other inputs.
    """
    for checkpoint in reversed(all_in(folder)):
        if not _intact(checkpoint):
            say(f"{checkpoint.name} was cut off while it was written; it is skipped and removed")
            shutil.rmtree(checkpoint)
        elif read_json(checkpoint / MANIFEST).get("run") != run:
            raise ConfigError(
                f"{folder} holds {checkpoint.name} of a run with other data or parameters; give another --output_dir, "
                f"or go on from it with --resume_from_checkpoint {checkpoint}"
            )
        else:
            return checkpoint
    return None


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
        for group, keys in (("model", None), ("tuner", None), ("train", DECIDING), ("stream", None))
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
    found = all_in(folder)
    best = best_step(history, [step_of(p) for p in found])
    spare = [p for p in found[:-1] if step_of(p) != best]
    for checkpoint in spare[: max(0, len(found) - limit) if limit else 0]:
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
