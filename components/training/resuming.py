"""Whether a run may go on from a checkpoint: its settings against those that the checkpoint was trained with."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from components import cache
from components.errors import ConfigError
from components.files import MANIFEST, read_json, sha256_of
from components.training.intact import STATE, is_checkpoint, is_sealed, problem_of

APPLIED = {
    "num_train_epochs", "max_steps", "save_steps", "eval_steps", "logging_steps", "save_total_limit",
    "dataloader_num_workers", "per_device_eval_batch_size", "gradient_checkpointing", "attn_impl", "eval_strategy",
    "eval_delay", "eval_on_start", "save_strategy", "metric_for_best_model", "greater_is_better",
    "predict_with_generate", "eval_metric", "load_best_model_at_end", "early_stop_interval",
}  # fmt: skip
"""Parameters of `train` that a run which goes on may change, and that then hold. The others decide what the optimizer,
the schedule or the order of rows in a checkpoint mean."""
BATCH = {"per_device_train_batch_size", "gradient_accumulation_steps"}
"""Parameters that may change where a step still takes as many rows, or packs: it then takes the same ones."""
FREE_GROUPS = ("model", "train", "plugins", "distributed", "stream")
"""Groups of arguments that may differ, or are compared in a way of their own; plugins by the files that are used."""
METHOD_FILES = (
    "components/config/groups/*.py", "components/models/quantization/*.py", "components/training/*/*.py",
    "components/tuners/*.py",
)  # fmt: skip
"""Our own methods: another version of these is an upgrade, as other code is, and no edit of the user's."""
FULL_NAME_PARTS = ("code.", "methods.", "parameters.")
"""Parts of `made_of` whose keys are full names; the prefix is left out in messages."""


def fingerprint(made_of: dict[str, Any]) -> str:
    """Return a hash of `made_of`, all that decides a run's weights. Runs with equal hashes share checkpoints."""
    return sha256_of(made_of)[:16]


def check_same_run(checkpoint: Path, made_of: dict[str, Any], arguments: dict[str, Any], rows: dict[str, Any]) -> None:
    """Check that a complete checkpoint, found in the folder of a run, was made of the same.

    Raises:
        ConfigError: it was not; the message names the settings to put back.
    """
    manifest = read_json(checkpoint / MANIFEST)
    if manifest["run"] == fingerprint(made_of):
        return
    clash = f"{checkpoint.parent} holds {checkpoint.name} of a run with other data or parameters"
    if problems := differences(checkpoint, made_of, arguments, rows):
        raise ConfigError("\n  ".join([f"{clash}; put these back, or name another --output_dir:", *problems]))
    reasons = listed(changes(manifest["made_of"], made_of))
    raise ConfigError(
        f"{clash} ({reasons}); go on from it with --resume_from_checkpoint {checkpoint}, or name another --output_dir"
    )


def check_resumable(checkpoint: Path, made_of: dict[str, Any], arguments: dict[str, Any], rows: dict[str, Any]) -> None:
    """Check that a run can resume from a checkpoint that the user names.

    Raises:
        ConfigError: the checkpoint is not intact, or of a run with other settings; the message names those to put back.
    """
    require_intact(checkpoint)
    if problems := differences(checkpoint, made_of, arguments, rows):
        start = f"resume_from_checkpoint: {checkpoint} belongs to another run; put these back, or start a new run:"
        raise ConfigError("\n  ".join([start, *problems]))
    if (steps := arguments.get("train", {}).get("max_steps", -1)) > 0:
        check_length(checkpoint, steps)


def check_weights(checkpoint: Path, arguments: dict[str, Any], groups: Iterable[str]) -> None:
    """Check that a new run can begin with the weights of a checkpoint, of the same base and tuner.

    Args:
        groups: the groups of arguments that say of what shape the tuner's weights are, and what they mean.

    Raises:
        ConfigError: the checkpoint is not intact, or of another base or tuner; the message names what to put back.
    """
    require_intact(checkpoint)
    saved = read_json(checkpoint / "args.json")
    lines = _model(saved["model"], arguments.get("model", {}))
    for group in groups:
        before = saved.get(group, {})
        values = {name: value for name, value in arguments[group].items() if "dropout" not in name}
        lines += [_line(name, before[name], now) for name, now in values.items() if before.get(name, now) != now]
    if lines:
        start = f"resume_only_model: the weights in {checkpoint} are of another base or tuner; put these back:"
        raise ConfigError("\n  ".join([start, *lines]))


def require_intact(checkpoint: Path) -> None:
    """Raise ConfigError with the reason if a folder that the user names is not an intact checkpoint."""
    if problem := problem_of(checkpoint):
        siblings = [folder.name for folder in checkpoint.resolve().parent.glob("checkpoint-*") if is_sealed(folder)]
        others = ", ".join(sorted({*siblings} - {checkpoint.name}, key=lambda name: (len(name), name)))
        raise ConfigError(
            f"resume_from_checkpoint: {checkpoint} is not a complete checkpoint: {problem}; name another"
            f"{f' ({others})' if others else ''}"
        )


def check_length(checkpoint: Path, steps: int) -> None:
    """Raise ConfigError if a run of so many steps ends before `checkpoint`."""
    step = int(checkpoint.name.rpartition("-")[2])
    if step > steps:
        raise ConfigError(
            f"resume_from_checkpoint: {checkpoint} is at step {step}, and the run ends at step {steps}; raise "
            "--max_steps or --num_train_epochs, or name an earlier checkpoint"
        )


def is_last(checkpoint: Path, made_of: dict[str, Any]) -> bool:
    """Return whether a checkpoint is intact and of the last step of the very run that is made of `made_of`."""
    if not is_checkpoint(checkpoint) or read_json(checkpoint / MANIFEST)["run"] != fingerprint(made_of):
        return False
    state = read_json(checkpoint / STATE)
    return state["global_step"] >= state["max_steps"]


def differences(
    checkpoint: Path, made_of: dict[str, Any], arguments: dict[str, Any], rows: dict[str, Any]
) -> list[str]:
    """Return what a run that goes on from `checkpoint` would have to put back, a line each.

    Args:
        rows: the settings that the rows came by, in groups; they are named where the rows are others.
    """
    saved, old = read_json(checkpoint / "args.json"), read_json(checkpoint / MANIFEST)["made_of"]
    lines = _model(saved["model"], arguments.get("model", {}))
    for group, values in arguments.items():
        before = saved.get(group, {})
        if group == "train":
            free = APPLIED | BATCH if _items_of_step(before) == _items_of_step(values) else APPLIED
            values = {name: value for name, value in values.items() if name not in free}
        elif group in FREE_GROUPS:
            continue
        lines += [_line(name, before[name], now) for name, now in values.items() if before.get(name, now) != now]
    lines += _stream(saved.get("stream"), arguments.get("stream"))
    lines += [f"the file of the {name} was edited" for name in _edited(old.get("methods", {}), made_of)]
    if not lines and "stream" not in saved and old.get("data") != made_of.get("data"):
        lines = _rows(checkpoint.parent / "args.json", rows) or ["the data: the rows are others than the run's"]
    return lines


def _items_of_step(train: dict[str, Any]) -> int:
    return train.get("per_device_train_batch_size", 1) * (train.get("gradient_accumulation_steps") or 1)


def _rows(run: Path, new: dict[str, Any]) -> list[str]:
    """Return a line for each setting of the data that is another than in the run's arguments, if these are there."""
    old = read_json(run) if run.is_file() else {}
    return [
        _line(name, old[group][name], now)
        for group, values in new.items()
        for name, now in values.items()
        if name in old.get(group, {}) and old[group][name] != now
    ]


def _line(name: str, before: Any, now: Any) -> str:
    return f"--{name} was {_word(before)} and is {_word(now)}"


def _word(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _model(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return a line if the base is another; a folder goes by its hash, a model of a hub by its name and commit."""
    if old.get("sha256") or new.get("sha256"):
        if old.get("sha256") == new.get("sha256"):
            return []
        if old.get("model") == new.get("model"):
            return [f"--model {old.get('model')}: the folder's files have changed since"]
    names = ("model", "source", "revision")
    return [_line("model" if name == "model" else f"model's {name}", old.get(name), new.get(name))
            for name in names if old.get(name) != new.get(name)][:1]  # fmt: skip


def _stream(old: dict[str, Any] | None, new: dict[str, Any] | None) -> list[str]:
    if old is None or new is None:
        before, now = (str(values is not None).lower() for values in (old, new))
        return [_line("streaming", before, now)] if before != now else []
    return [_line(name, old.get(name), now) for name, now in new.items() if old.get(name) != now]


def _edited(old: dict[str, str], made_of: dict[str, Any]) -> list[str]:
    """Return the names of methods whose file, a user's own, is another than it was."""
    ours = set(cache.code_files(*METHOD_FILES).values())
    return [name for name, sha in made_of.get("methods", {}).items() if old.get(name, sha) != sha and sha not in ours]


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


def listed(names: list[str], most: int = 4) -> str:
    """Return `a, b and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
