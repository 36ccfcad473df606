"""LoRA (Hu et al. 2021, arXiv 2106.09685) through peft, which is not trusted to do what it was asked."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config.groups.tuner import Tuner
from components.errors import ConfigError, MartletError, did_you_mean

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

DEFAULT_LEARNING_RATE = 1e-4
ALL_LINEAR = "all-linear"
WEIGHTS = "adapter_model.safetensors"


def wrap(model: "PreTrainedModel", params: Tuner, seed: int) -> "PeftModel":
    """Freeze `model` and put LoRA on its targets; equal seeds give equal matrices.

    Raises:
        ConfigError: a target, or a module to save, matches nothing in the model.
        MartletError: peft adapted other layers than it was asked to.
    """
    import torch
    from peft import LoraConfig

    wanted = _targets(model, params.target_modules)
    for name in params.modules_to_save:
        _matching([n for n, _ in model.named_modules()], name, "modules_to_save")
    torch.manual_seed(seed)
    config = LoraConfig(
        r=params.lora_rank,
        lora_alpha=int(params.lora_alpha) if params.lora_alpha == int(params.lora_alpha) else params.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=params.lora_dropout,
        use_rslora=params.use_rslora,
        target_modules=_shortest(model, wanted),
        modules_to_save=params.modules_to_save or None,
        ensure_weight_tying=_saves_tied(model, params.modules_to_save),
        task_type="CAUSAL_LM",
    )
    adapted = _adapted(model, config)
    _check_targets(adapted, wanted)
    return adapted


def save(model: "PeftModel", folder: Path, base: str | None = None) -> None:
    """Save adapter_config.json and adapter_model.safetensors; `base` is the name of the base model to record."""
    config = model.peft_config["default"]
    config.base_model_name_or_path = base or config.base_model_name_or_path
    config.target_modules = sorted(config.target_modules)  # type: ignore[arg-type,assignment]  # a set has no fixed order
    # By default peft asks the hub whether the vocabulary was resized.
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def load(base: "PreTrainedModel", folder: Path) -> "PeftModel":
    """Put a saved adapter on `base`, ready to answer.

    Raises:
        ConfigError: the folder holds no LoRA adapter.
        MartletError: a tensor of the adapter is missing, is one too many, or has another shape than the base asks for.
    """
    for name in ("adapter_config.json", WEIGHTS):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder}: not a LoRA adapter: there is no {name}")
    from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    try:
        config = LoraConfig.from_pretrained(str(folder))
        weights = load_file(folder / WEIGHTS)
        config.inference_mode = True
        config.base_model_name_or_path = base.name_or_path
        model = _adapted(base, config)
    except Exception as error:
        raise MartletError(f"{folder}: the adapter does not fit the model: {str(error).splitlines()[0]}") from error
    expected = get_peft_model_state_dict(model, save_embedding_layers=False)
    _check_tensors(folder, expected, weights)
    set_peft_model_state_dict(model, weights)
    return model.eval()


def merge(model: "PeftModel") -> "PreTrainedModel":
    """Add the adapter into the weights and return the plain model.

    Raises:
        MartletError: the merged weights are not finite.
    """
    try:
        return model.merge_and_unload(safe_merge=True)  # type: ignore[operator,return-value]
    except ValueError as error:
        raise MartletError(f"the adapter cannot be merged: {error}") from error


def _adapted(model: "PreTrainedModel", config: Any) -> "PeftModel":
    from peft import get_peft_model

    with warnings.catch_warnings():  # peft reads an attribute of transformers that is about to be renamed
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, config)  # type: ignore[arg-type,return-value]


def _targets(model: "PreTrainedModel", requested: list[str]) -> set[str]:
    """Full names of the layers that `requested` means."""
    candidates = [name for name, module in model.named_modules() if hasattr(module, "weight") and "norm" not in name]
    wanted: set[str] = set()
    for target in requested:
        wanted |= _all_linear(model) if target == ALL_LINEAR else _matching(candidates, target, "target_modules")
    return wanted


def _all_linear(model: "PreTrainedModel") -> set[str]:
    """Every linear layer but the output head. A subclass with a forward of its own, such as a router, is none."""
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
    found = {name for name in names if name == target or name.endswith(f".{target}")}
    if not found:
        existing = sorted({name.rpartition(".")[2] for name in names if name} - {str(i) for i in range(1000)})
        raise ConfigError(
            f"{parameter}: no layer of the model is called '{target}'{did_you_mean(target, existing)}; "
            f"there are {', '.join(existing)}" + (f", or {ALL_LINEAR}" if parameter == "target_modules" else "")
        )
    return found


def _shortest(model: "PreTrainedModel", wanted: set[str]) -> list[str]:
    """Last names where they mean the same layers, as other tools expect them; else full names."""
    last = {name.rpartition(".")[2] for name in wanted}
    meant = {name for name, _ in model.named_modules() if name.rpartition(".")[2] in last}
    return sorted(last if meant == wanted else wanted)


def _saves_tied(model: "PreTrainedModel", saved: list[str]) -> bool:
    """True when an embedding that the head shares is to be trained in full: the two must stay one."""
    shared = (model.get_input_embeddings(), model.get_output_embeddings())
    return bool(model.config.tie_word_embeddings) and any(
        module in shared and name.rpartition(".")[2] in saved for name, module in model.named_modules()
    )


def _check_targets(model: Any, wanted: set[str]) -> None:
    from peft.tuners.lora import LoraLayer

    prefix = "base_model.model."
    actual = {name.removeprefix(prefix) for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    if actual != wanted:
        missing, extra = sorted(wanted - actual), sorted(actual - wanted)
        raise MartletError(
            f"target_modules: {len(wanted)} layers were to get LoRA, {len(actual)} did"
            + (f"; without it: {', '.join(missing[:3])}" if missing else "")
            + (f"; not asked for: {', '.join(extra[:3])}" if extra else "")
            + ". peft rewrites the targets of this architecture; name the layers with --target_modules"
        )


def _check_tensors(folder: Path, expected: dict[str, Any], found: dict[str, Any]) -> None:
    shapes = [k for k in expected if k in found and expected[k].shape != found[k].shape]
    problems = [
        f"{len(names)} {what} ({names[0]})"
        for what, names in (
            ("missing", sorted(expected.keys() - found.keys())),
            ("unexpected", sorted(found.keys() - expected.keys())),
            ("of another shape", shapes),
        )
        if names
    ]
    if problems:
        raise MartletError(f"{folder}: the adapter does not fit the model; of its tensors {', '.join(problems)}")
