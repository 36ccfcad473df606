"""A checkpoint folder as a model: which one of a run is taken, the base that it was trained on, and its saved
arguments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from components.config import SAVED_GROUPS, Layer, Params, read_flags, read_mapping, resolve
from components.errors import ConfigError, did_you_mean
from components.files import MANIFEST, changed_files, is_complete, read_json

LOADED_SUFFIXES = (".safetensors", ".json", ".jinja")
"""Of the files of a checkpoint that a loaded model depends on; those of the optimizer may be gone."""


class Target(NamedTuple):
    """A model folder, the adapter folder to apply to it or None, and the parameters: flags over saved arguments."""

    model: Path
    adapter: Path | None
    params: Params


def checkpoint_of(folder: Path, report: Callable[[str], None], flag: str = "adapters") -> Path:
    """Return `folder`, or the best checkpoint of a run folder: by the loss on the validation rows, else the newest."""
    from components.training.best import measure
    from components.training.checkpoints import all_in, step_of

    written = [] if any(folder.glob("*.safetensors")) else all_in(folder)
    checkpoints = [checkpoint for checkpoint in written if is_complete(checkpoint)]
    if not checkpoints:
        return folder
    if damaged := [checkpoint.name for checkpoint in written if checkpoint not in checkpoints]:
        report(f"{folder}: {', '.join(damaged)} cut off or damaged, and not taken")
    _require_unchanged(checkpoints[-1], flag)
    history = read_json(checkpoints[-1] / "trainer_state.json")["log_history"]
    arguments = checkpoints[-1] / "args.json"
    saved = read_json(arguments).get("train", {}) if arguments.is_file() else {}
    compared = measure(saved.get("metric_for_best_model", "eval_loss"), saved.get("greater_is_better"))
    best = compared.best_step(history, [step_of(checkpoint) for checkpoint in checkpoints])
    chosen = next((checkpoint for checkpoint in checkpoints if step_of(checkpoint) == best), checkpoints[-1])
    extreme = "greatest" if compared.greater_is_better else "lowest"
    figure = compared.name.removeprefix("eval_").replace("_", " ")
    why = f"the {extreme} {figure} on its validation rows" if best else "its newest checkpoint"
    report(f"{folder} is a run: {chosen.name} is taken, {why}")
    return chosen


def _require_unchanged(checkpoint: Path, flag: str) -> None:
    """Raise ConfigError if a file of the checkpoint that a model is loaded from is not as it was written."""
    if changed := changed_files(checkpoint, LOADED_SUFFIXES):
        raise ConfigError(
            f"--{flag} {checkpoint}: {', '.join(changed)} damaged or edited since the training; take another "
            f"checkpoint, or remove {MANIFEST} there if the change is yours"
        )


def with_adapter(adapter: Path, flags: dict[str, Any], flag: str = "adapters") -> Target:
    """Return the base of a checkpoint's adapter with that adapter, or a checkpoint of all weights alone.

    Args:
        flags: lie over the saved arguments.
        flag: names the checkpoint.

    Raises:
        ConfigError: the folder is no checkpoint, is not as it was written, or its base has changed.
    """
    from components import models

    arguments = adapter / "args.json"
    if not adapter.is_dir():
        siblings = [folder.name for folder in adapter.parent.glob("checkpoint-*")]
        raise ConfigError(f"--{flag} {adapter}: no such folder{did_you_mean(adapter.name, siblings)}")
    if not arguments.is_file():
        raise ConfigError(f"--{flag} {adapter}: no saved arguments (args.json) there; is it a checkpoint folder?")
    _require_unchanged(adapter, flag)
    params = resolve(_saved_arguments(arguments), read_flags(flags))
    if not params.model.model:
        raise ConfigError(f"{arguments}: no base model is named there; name it with --model")
    if params.tuner.tuner_type == "full":  # the checkpoint is the model
        if named := flags.keys() & {"model", "model_revision"}:
            raise ConfigError(f"--{min(named)} has no effect: {adapter} is a whole model; leave it out")
        return Target(adapter, None, params)
    workspace = _training_workspace(adapter, params.model.model)
    identity = identity_of(params, workspace)
    trained_on = read_json(arguments)["model"].get("sha256")
    if trained_on and identity["sha256"] and trained_on != identity["sha256"] and "model" not in flags:
        raise ConfigError(
            f"--{flag} {adapter}: the files of its base {params.model.model} have changed since the training; put "
            f"them back, or load it on them all the same with --model {params.model.model}"
        )
    return Target(models.folder(identity, workspace), adapter, params)


def identity_of(params: Params, workspace: Path) -> dict[str, Any]:
    """Return the identity of the model that `params` name."""
    from components import models

    named = params.model
    assert named.model
    return models.resolve(named.model, named.model_revision, params.data.use_hf, workspace, named.trust_remote_code)


def _saved_arguments(file: Path) -> Layer:
    try:
        saved = read_json(file)
        identity, name = saved["model"], saved["model"]["model"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file}: not the saved arguments of a run ({error!r}); take another checkpoint") from error
    return read_mapping(
        {
            "model": name,
            "model_revision": identity.get("revision") or identity.get("model_revision"),
            "use_hf": identity.get("source") == "huggingface",
            **{group: saved[group] for group in SAVED_GROUPS if group in saved},
        },
        str(file),
    )


def _training_workspace(adapter: Path, model: str) -> Path:
    """Return the folder that a relative model folder is relative to: this one, or a parent of the checkpoint."""
    folders = [Path.cwd(), *adapter.resolve().parents]
    return next((folder for folder in folders if (folder / model).is_dir()), Path.cwd())
