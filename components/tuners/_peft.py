"""Adapters through peft, which is not trusted to do what it was asked: adapted layers are those that were targeted,
saved tensors those that are loaded."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config import Params
from components.errors import ConfigError, MartletError, did_you_mean

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

ALL_LINEAR = "all-linear"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def wrapped(model: "PreTrainedModel", config: "PeftConfig", targets: set[str], seed: int) -> "PeftModel":
    """Return `model`, frozen, with the adapter that `config` describes on the layers `targets` (full names).

    Raises:
        MartletError: peft adapted other layers.
    """
    import torch

    torch.manual_seed(seed)
    adapted = _adapted(model, config)
    _check_targets(adapted, targets)
    return adapted


def with_adapter(
    model: "PreTrainedModel", params: Params, seed: int, config: "type[PeftConfig]", **options: Any
) -> "PeftModel":
    """Return `model`, frozen, with an adapter of peft's kind `config` on the layers that the parameters name; `options`
    are the kind's own.

    Raises:
        ConfigError: a target, or a module to save, matches nothing in the model; or an option does not fit a layer.
        MartletError: peft adapted other layers than the targets.
    """
    layers, saved = targets(model, params), params.tuner.modules_to_save
    names = short_names(model, layers)
    described = config(target_modules=names, modules_to_save=saved or None, task_type="CAUSAL_LM", **options)  # type: ignore[call-arg]
    return wrapped(model, described, layers, seed)


def save(model: "PeftModel", folder: Path, base: str | None = None) -> None:
    """Write adapter_config.json and adapter_model.safetensors; `base` is the name of the base model to record."""
    config: Any = model.peft_config["default"]
    config.base_model_name_or_path = base or config.base_model_name_or_path
    config.target_modules = sorted(config.target_modules)  # a set has no fixed order
    if getattr(config, "feedforward_modules", None):
        config.feedforward_modules = sorted(config.feedforward_modules)
    # By default peft asks the hub whether the vocabulary was resized.
    model.save_pretrained(str(folder), selected_adapters=["default"], save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def restore(model: "PeftModel", folder: Path) -> None:
    """Read the tensors of a saved adapter into a model that has one of the same kind.

    Raises:
        ConfigError: the folder holds no adapter.
        MartletError: the file is damaged, or a tensor is missing, one too many, or of another shape.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _require_files(folder)
    try:
        weights = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise MartletError(
            f"{folder / WEIGHTS} cannot be read: {error}; was the file copied whole? Take another checkpoint"
        ) from error
    _check_tensors(folder, get_peft_model_state_dict(model, save_embedding_layers=False), weights)
    if broken := [name for name, weight in weights.items() if not is_finite(weight)]:
        raise MartletError(f"{folder / WEIGHTS}: the tensor {broken[0]} holds integers, NaN or infinity")
    set_peft_model_state_dict(model, weights)


def is_finite(weight: Any) -> bool:
    """Return whether a tensor holds finite floating-point numbers alone."""
    import torch

    return weight.is_floating_point() and bool(torch.isfinite(weight).all())


def load(model: "PreTrainedModel", folder: Path) -> "PeftModel":
    """Return `model` with a saved adapter, ready to answer.

    Raises:
        ConfigError: the folder holds no adapter.
        MartletError: the adapter does not fit the model, tensor by tensor.
    """
    from peft import PeftConfig

    _require_files(folder)
    try:
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        config.base_model_name_or_path = model.name_or_path
        adapted = _adapted(model, config)
    except Exception as error:
        raise MartletError(f"{folder}: the adapter does not fit the model: {str(error).splitlines()[0]}") from error
    restore(adapted, folder)
    return adapted.eval()


def merge(model: "PeftModel") -> "PreTrainedModel":
    """Return the plain model with the adapter added into its weights.

    Raises:
        MartletError: peft cannot merge this adapter, or the merged weights are not finite.
    """
    try:
        return model.merge_and_unload(safe_merge=True)  # type: ignore[operator,return-value]
    except (ValueError, NotImplementedError, AttributeError) as error:
        raise MartletError(f"the adapter cannot be merged: {error}") from error


def targets(model: "PreTrainedModel", params: Params) -> set[str]:
    """Return the full names of the layers that `target_modules` means.

    Raises:
        ConfigError: a name matches no layer; also one of `modules_to_save`.
    """
    for name in params.tuner.modules_to_save:
        _matching([n for n, _ in model.named_modules()], name, "modules_to_save")
    candidates = [name for name, module in model.named_modules() if hasattr(module, "weight") and "norm" not in name]
    layers: set[str] = set()
    for target in params.tuner.target_modules:
        layers |= _all_linear(model) if target == ALL_LINEAR else _matching(candidates, target, "target_modules")
    return layers


def short_names(model: "PreTrainedModel", layers: set[str]) -> list[str]:
    """Return the last parts of the names where they mean the same layers, as other tools expect them; else the full
    names."""
    last = {name.rpartition(".")[2] for name in layers}
    same = {name for name, _ in model.named_modules() if name.rpartition(".")[2] in last}
    return sorted(last if same == layers else layers)


def saves_tied(model: "PreTrainedModel", saved: list[str]) -> bool:
    """Return True when an embedding that the head shares is to be trained in full: the two must stay one."""
    shared = (model.get_input_embeddings(), model.get_output_embeddings())
    return bool(model.config.tie_word_embeddings) and any(
        module in shared and name.rpartition(".")[2] in saved for name, module in model.named_modules()
    )


def _adapted(model: "PreTrainedModel", config: "PeftConfig") -> "PeftModel":
    from peft import get_peft_model

    with warnings.catch_warnings():  # peft reads an attribute of transformers that is about to be renamed
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, config)  # type: ignore[arg-type,return-value]


def _require_files(folder: Path) -> None:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder}: not an adapter folder: there is no {name}")


def _all_linear(model: "PreTrainedModel") -> set[str]:
    """Return every linear layer but the output head; a subclass with its own forward, such as a router, is none."""
    from torch import nn

    head = model.get_output_embeddings()
    return {
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module is not head
        and (type(module).forward is nn.Linear.forward or type(module).__module__.startswith("bitsandbytes"))
    }


def _matching(names: list[str], target: str, parameter: str) -> set[str]:
    layers = {name for name in names if name == target or name.endswith(f".{target}")}
    if not layers:
        existing = sorted({name.rpartition(".")[2] for name in names if name} - {str(i) for i in range(1000)})
        raise ConfigError(
            f"{parameter}: no layer of the model is called '{target}'{did_you_mean(target, existing)}; "
            f"there are {', '.join(existing)}" + (f", or {ALL_LINEAR}" if parameter == "target_modules" else "")
        )
    return layers


def _check_targets(model: "PeftModel", layers: set[str]) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    prefix = "base_model.model."
    actual = {name.removeprefix(prefix) for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
    if actual != layers:
        missing, extra = sorted(layers - actual), sorted(actual - layers)
        raise MartletError(
            f"target_modules: {len(layers)} layers were to be adapted, {len(actual)} were"
            + (f"; not adapted: {', '.join(missing[:3])}" if missing else "")
            + (f"; not asked for: {', '.join(extra[:3])}" if extra else "")
            + ". peft rewrites the targets of this architecture; name the layers with --target_modules"
        )


def _check_tensors(folder: Path, expected: dict[str, Any], weights: dict[str, Any]) -> None:
    shapes = [name for name in expected if name in weights and expected[name].shape != weights[name].shape]
    problems = [
        f"{len(names)} {what} ({names[0]})"
        for what, names in (
            ("missing", sorted(expected.keys() - weights.keys())),
            ("unexpected", sorted(weights.keys() - expected.keys())),
            ("of another shape", shapes),
        )
        if names
    ]
    if problems:
        raise MartletError(
            f"{folder}: the adapter does not fit the model; of its tensors {', '.join(problems)}. Load it on the base "
            "model that its adapter_config.json names"
        )
