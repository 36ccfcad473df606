"""Adapters through peft, which is not trusted to do what it was asked: adapted layers are those that were targeted,
saved tensors those that are loaded."""

import warnings
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.classes import HEAD
from components.config import Params
from components.errors import ConfigError, MartletError
from components.sharded import is_any_divided
from components.tuners._files import read_weights, require_files
from components.tuners._layers import short_names, targets
from components.tuners._modules import trained_weights

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel


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
    layers, saved = targets(model, params), [*params.tuner.modules_to_save]  # peft adds names to the list
    names = short_names(model, layers)
    described = config(target_modules=names, modules_to_save=saved or None, task_type=_task(model), **options)  # type: ignore[call-arg]
    try:
        return wrapped(model, described, layers, seed)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(f"tuner_type: the tuner does not fit the model: {str(error).splitlines()[0]}") from error


def with_prompt(model: "PreTrainedModel", seed: int, config: "type[PeftConfig]", **options: Any) -> "PeftModel":
    """Return `model`, frozen, with a learned prompt of peft's kind `config`; `options` are the kind's own.

    Raises:
        ConfigError: peft cannot put such a prompt into the architecture.
    """
    import torch

    torch.manual_seed(seed)
    model.supports_gradient_checkpointing = False  # which drops the cache that a prefix is put in
    try:
        return _adapted(model, config(task_type="CAUSAL_LM", **options))  # type: ignore[call-arg]
    except (ValueError, TypeError, AttributeError, NotImplementedError) as error:
        raise ConfigError(f"tuner_type: the tuner does not fit the model: {str(error).splitlines()[0]}") from error


def save(
    model: "PeftModel", folder: Path, base: str | None = None, weights: "Iterable[tuple[str, torch.Tensor]]" = ()
) -> None:
    """Write adapter_config.json and adapter_model.safetensors; `base` is the name of the base model to record, and
    `weights` are those of the adapter where processes divide them."""
    config: Any = model.peft_config["default"]
    config.base_model_name_or_path = base or config.base_model_name_or_path
    for name in ("target_modules", "feedforward_modules", "modules_to_save"):
        if getattr(config, name, None):
            setattr(config, name, sorted(set(getattr(config, name))))  # a set has no fixed order
    # By default peft asks the hub whether the vocabulary was resized.
    whole = dict(weights) or None
    model.save_pretrained(str(folder), selected_adapters=["default"], save_embedding_layers=False, state_dict=whole)
    (folder / "README.md").unlink(missing_ok=True)


def restore(model: "PeftModel", folder: Path) -> None:
    """Read the tensors of a saved adapter into a model that has one of the same kind.

    Raises:
        ConfigError: the folder holds no adapter.
        MartletError: as `read_weights`.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    # Of divided weights peft 0.21 would gather all, the base's too.
    learned = trained_weights(model) if is_any_divided(model) else None
    expected = get_peft_model_state_dict(model, state_dict=learned, save_embedding_layers=False)
    weights = read_weights(folder, expected)
    with _names_kept(model):
        set_peft_model_state_dict(model, weights)


def load(model: "PreTrainedModel", folder: Path) -> "PeftModel":
    """Return `model` with a saved adapter, ready to answer.

    Raises:
        ConfigError: the folder holds no adapter.
        MartletError: the adapter does not fit the model, tensor by tensor.
    """
    from peft import PeftConfig

    require_files(folder)
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


def saves_tied(model: "PreTrainedModel", saved: list[str]) -> bool:
    """Return True when an embedding that the head shares is to be trained in full: the two must stay one."""
    shared = (model.get_input_embeddings(), model.get_output_embeddings())
    return bool(getattr(model.config, "tie_word_embeddings", False)) and any(
        module in shared and name.rpartition(".")[2] in saved for name, module in model.named_modules()
    )


def _task(model: "PreTrainedModel") -> str:
    """Return peft's name for what a model returns: classes, text, or hidden states."""
    if hasattr(model, HEAD):
        return "SEQ_CLS"
    return "CAUSAL_LM" if model.can_generate() else "FEATURE_EXTRACTION"


def _adapted(model: "PreTrainedModel", config: "PeftConfig") -> "PeftModel":
    from peft import get_peft_model

    with warnings.catch_warnings(), _names_kept(model):
        warnings.simplefilter("ignore", FutureWarning)  # peft reads an attribute of transformers that gets a new name
        warnings.filterwarnings("ignore", "fan_in_fan_out")  # peft sets that itself for GPT-2's Conv1D
        warnings.filterwarnings("ignore", "lora with eva")  # which advises to leave the adapter without values
        return get_peft_model(model, config)  # type: ignore[arg-type,return-value]


@contextmanager
def _names_kept(model: Any) -> Generator[None]:
    """Keep peft from reading names of layers as those of transformers 4, by hiding the model's type meanwhile.

    For mixtures of experts, peft 0.21 takes `gate_proj` of a dense layer or a shared expert for that of the experts,
    which transformers 5 stores in one tensor: it adapts the experts instead, and says nothing. It renames the tensors
    of adapters likewise when it reads them. Goes when peft leaves names alone that the model has.
    """
    config, model_type = model.config, model.config.model_type
    config.model_type = ""
    try:
        yield
    finally:
        config.model_type = model_type


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
            + ". Name the layers with --target_modules"
        )
