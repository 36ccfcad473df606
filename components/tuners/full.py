"""Full training: every weight learns, or all but those that are frozen, and what is saved is a whole model."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config import Params
from components.errors import ConfigError, MartletError, did_you_mean
from components.sharded import copy_, is_any_divided, numel
from components.towers import Parts

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

LEARNING_RATE = 1e-5
QUANTIZED_BASE = False
TARGETS = False
SHARDED = True


def wrap(model: "PreTrainedModel", params: Params, seed: int) -> "PreTrainedModel":  # noqa: ARG001
    """Let every weight learn that the parameters do not freeze; there is nothing to initialise.

    Raises:
        ConfigError: the weights are quantized; or as `require_fit`.
    """
    if params.quantization.quant_method or getattr(model, "is_quantized", False):
        raise ConfigError(
            "tuner_type: full training needs weights that are not quantized; use lora, or no quant_method"
        )
    learning = _learning(model, params)
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in learning)
    return model


def require_fit(model: "PreTrainedModel", params: Params) -> None:
    """Raise ConfigError where a name or a pattern means no weight, or no weight learns."""
    _learning(model, params)


def _learning(model: "PreTrainedModel", params: Params) -> set[str]:
    """Return the names of the weights that learn, by ms-swift's rules: frozen parts of a multimodal model, the first
    weights up to the ratio and those that are named are frozen, and `trainable_parameters` learn whatever freezes them.

    Raises:
        ConfigError: as `require_fit`.
    """
    freezing, weights = params.freezing, dict(model.named_parameters())
    parts, frozen_parts = Parts(model), params.towers.frozen()
    frozen = {name for name in weights if parts.of(name) in frozen_parts}
    frozen |= _selection(model, freezing.freeze_parameters, freezing.freeze_parameters_regex, "freeze_parameters")
    exempt = _selection(
        model, freezing.trainable_parameters, freezing.trainable_parameters_regex, "trainable_parameters"
    )
    room = freezing.freeze_parameters_ratio * sum(map(numel, weights.values()))
    for name, weight in weights.items():
        room -= numel(weight)
        if room < 0:
            break
        frozen.add(name)
    learning = weights.keys() - (frozen - exempt)
    if not learning:
        raise ConfigError("freeze_parameters: no weight is left to learn; name some with --trainable_parameters")
    return learning


def _selection(model: "PreTrainedModel", beginnings: list[str], pattern: str | None, parameter: str) -> set[str]:
    """Return the names of the weights whose name, or other name where two layers share them, begins with one of
    `beginnings`, or has `pattern` in it.

    Raises:
        ConfigError: one of these means no weight, or the pattern is none.
    """
    own = {weight: name for name, weight in model.named_parameters()}
    names = {name: own[weight] for name, weight in model.named_parameters(remove_duplicate=False)}
    selection: set[str] = set()
    for beginning in beginnings:
        matches = {own_name for name, own_name in names.items() if name.startswith(beginning)}
        if not matches:
            layers = {name.rpartition(".")[0] for name in names}
            raise ConfigError(
                f"{parameter}: no weight's name begins with '{beginning}'{did_you_mean(beginning, layers)}; "
                f"names are such as {next(iter(names))}"
            )
        selection |= matches
    if pattern:
        try:
            matches = {own_name for name, own_name in names.items() if re.search(pattern, name)}
        except re.error as error:
            raise ConfigError(f"{parameter}_regex: '{pattern}' is no regular expression: {error}") from error
        if not matches:
            raise ConfigError(
                f"{parameter}_regex: '{pattern}' is in no weight's name; names are such as {next(iter(names))}"
            )
        selection |= matches
    return selection


def save(
    model: "PreTrainedModel",
    folder: Path,
    base: str | None = None,  # noqa: ARG001
    weights: Any = None,
) -> None:
    """Write configuration and weights, as safetensors; `weights` are the model's where processes divide them."""
    config: Any = model.config
    division = getattr(config, "distributed_config", None)
    config.distributed_config = None  # with which transformers 5.23 would wait here for the other processes
    try:
        if weights is None:
            model.save_pretrained(str(folder))
        elif _are_stored_as_they_are(model, weights.empty):
            model.save_pretrained(str(folder), state_dict={})
            (folder / "model.safetensors").unlink(missing_ok=True)
            weights.write(folder)
        else:  # all are needed at once
            model.save_pretrained(str(folder), state_dict=dict(weights))
    finally:
        config.distributed_config = division


def _are_stored_as_they_are(model: "PreTrainedModel", weights: "dict[str, torch.Tensor]") -> bool:
    """Return whether the files of the architecture hold the tensors of the model, and no parts or sums of them."""
    from transformers.core_model_loading import revert_weight_conversion

    return revert_weight_conversion(model, dict(weights)).keys() == weights.keys()


def restore(model: "PreTrainedModel", folder: Path) -> None:
    """Read the weights of a saved model into `model`.

    Raises:
        ConfigError: the folder holds no weights.
        MartletError: the weights do not fit the model tensor by tensor.
    """
    trained = load(model, folder)
    for weight, value in zip(model.parameters(), trained.parameters(), strict=True):
        copy_(weight, value)


def load(model: "PreTrainedModel", folder: Path) -> "PreTrainedModel":
    """Return the trained model in the precision and on the device of `model`.

    Raises:
        ConfigError: the folder holds no weights.
        MartletError: the weights do not fit the class of `model` tensor by tensor.
    """
    if not any(folder.glob("model*.safetensors")):
        raise ConfigError(f"{folder}: no trained model: there is no model.safetensors")
    from safetensors import SafetensorError

    try:
        loaded: Any = type(model).from_pretrained(
            folder,
            dtype=model.dtype,
            attn_implementation=model.config._attn_implementation,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **({"distributed_config": config} if (config := getattr(model.config, "distributed_config", None)) else {}),
        )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise MartletError(f"{folder}: the weights do not fit the model: {str(error).splitlines()[0]}") from error
    trained, report = loaded
    wrong = sorted(str(key) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in report[kind])
    if wrong or sum(map(numel, trained.parameters())) != sum(map(numel, model.parameters())):
        raise MartletError(f"{folder}: the weights do not fit the model: {', '.join(wrong[:3]) or 'another size'}")
    return (trained if is_any_divided(trained) else trained.to(model.device)).eval()


def merge(model: "PreTrainedModel") -> "PreTrainedModel":
    """Return `model`: there is nothing to merge."""
    return model
