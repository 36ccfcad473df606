"""What a checkpoint consists of, and what is wrong with one."""

from pathlib import Path
from typing import Any

from components.files import MANIFEST, is_complete, read_json, sha256

STATE = "trainer_state.json"
NEEDED = ("args.json", STATE, "scheduler.pt")
"""Files that every checkpoint has, beside the weights in its tuner's format, the optimizer's state and random states by
process."""
OPTIMIZER_FILES = ("optimizer.pt", "optimizer/", "global_step")
"""How the names of files begin that hold the optimizer's state: of DDP, FSDP and DeepSpeed."""


def is_checkpoint(folder: Path) -> bool:
    """Return whether a folder is an intact checkpoint: its files are those of its manifest, which names its run, and
    there are no weights or states beside them."""
    return not problem_of(folder)


def is_sealed(folder: Path) -> bool:
    """Return whether a checkpoint folder is complete by its files' sizes, and its manifest names its run and step."""
    return is_complete(folder) and not _problem_of_manifest(folder, read_json(folder / MANIFEST))


def problem_of(folder: Path) -> str:
    """Return why a folder is not an intact checkpoint, or an empty string."""
    if not (folder / MANIFEST).is_file():
        if checkpoints := sorted(path.name for path in folder.glob("checkpoint-*")):
            return f"it is the folder of a run with {', '.join(checkpoints)}"
        return f"it has no {MANIFEST}, as if it had been cut off while it was written"
    try:
        manifest = read_json(folder / MANIFEST)
        files: dict[str, Any] = manifest["files"]
        problems = [_problem_of_file(folder / name, name, entry) for name, entry in files.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"its {MANIFEST} is damaged"
    states = (file for kind in ("safetensors", "pt", "pth") for file in folder.rglob(f"*.{kind}"))
    problems += [f"there is no {name}" for name in NEEDED if name not in files]
    problems += ["there is no optimizer.pt"] * (not any(name.startswith(OPTIMIZER_FILES) for name in files))
    problems += [f"{file.name} does not belong to it" for file in states if str(file.relative_to(folder)) not in files]
    problem = next(filter(None, problems), "") or _problem_of_manifest(folder, manifest)
    return problem or _problem_of_state(folder, manifest["step"])


def _problem_of_file(file: Path, name: str, entry: dict[str, Any]) -> str:
    if not file.is_file():
        return f"{name} is missing"
    if (size := file.stat().st_size) != entry["size"]:
        return f"{name} has {size:,} bytes instead of {entry['size']:,}"
    return "" if sha256(file) == entry["sha256"] else f"{name} was damaged or edited"


def _problem_of_manifest(folder: Path, manifest: dict[str, Any]) -> str:
    if folder.name.rpartition("-")[2] != str(manifest.get("step")):
        return f"it was written as checkpoint-{manifest.get('step')}"
    is_named = isinstance(manifest.get("run"), str) and isinstance(manifest.get("made_of"), dict)
    return "" if is_named else f"its {MANIFEST} is damaged"


def _problem_of_state(folder: Path, step: int) -> str:
    """Return what is wrong with the JSON files, which an edited manifest may hold as they are."""
    try:
        state, arguments = read_json(folder / STATE), read_json(folder / "args.json")
        is_right = state["global_step"] == step and isinstance(arguments["model"], dict)
    except (OSError, ValueError, KeyError, TypeError):
        return f"{STATE} or args.json is damaged"
    return "" if is_right else f"its {STATE} is of step {state['global_step']}"
