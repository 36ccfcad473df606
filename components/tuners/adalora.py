"""AdaLoRA (Zhang et al. 2023, arXiv 2303.10512): LoRA in the form of a singular value decomposition, from which steps
take the least important values."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config import Params
from components.errors import ConfigError
from components.tuners import _peft
from components.tuners._peft import load, merge, with_adapter

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["LEARNING_RATE", "load", "merge", "penalty", "require_fit", "restore", "save", "step", "wrap"]

LEARNING_RATE = 1e-3
UNFIT_BASES = ("gptq", "awq", "aqlm", "eetq", "hqq")
IMPORTANCE = "importance.safetensors"
"""File beside the adapter with the averages by which the next step chooses, so that a run goes on exactly."""


def wrap(model: "PreTrainedModel", params: Params, seed: int) -> "PeftModel":
    """Freeze `model` and put AdaLoRA on its targets. Raises as LoRA's, and as `require_fit`."""
    require_fit(model, params)
    from peft import AdaLoraConfig

    adalora, lora = params.adalora, params.lora
    steps = {"tinit": adalora.adalora_tinit, "tfinal": adalora.adalora_tfinal, "deltaT": adalora.adalora_delta_t}
    return with_adapter(
        model,
        params,
        seed,
        AdaLoraConfig,
        init_r=adalora.adalora_init_r,
        target_r=adalora.adalora_target_r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        beta1=adalora.adalora_beta1,
        beta2=adalora.adalora_beta2,
        orth_reg_weight=adalora.adalora_orth_reg_weight,
        total_step=adalora.adalora_tinit + adalora.adalora_tfinal + 1,  # until `step` knows
        **steps,
    )


def require_fit(model: "PreTrainedModel", params: Params) -> None:
    """Raise ConfigError where the ranks would not fall, or a name matches nothing."""
    _peft.targets(model, params)
    if params.train.max_steps > 0:
        _require_steps(params.adalora.adalora_tinit, params.adalora.adalora_tfinal, params.train.max_steps)
    first, last = params.adalora.adalora_init_r, params.adalora.adalora_target_r
    if last >= first:
        raise ConfigError(
            f"adalora_target_r: {last} is not below the {first} of --adalora_init_r, so no rank would fall"
        )


def step(model: Any, number: int, steps: int) -> None:
    """Set the ranks after optimizer step `number` of `steps`, while the gradients are there.

    Raises:
        ConfigError: the run is too short for `adalora_tinit` and `adalora_tfinal`.
    """
    config = model.peft_config["default"]
    _require_steps(config.tinit, config.tfinal, steps)
    config.total_step = steps
    model.base_model.update_and_allocate(number)


def _require_steps(first: int, last: int, steps: int) -> None:
    """Raise ConfigError where no rank can fall in a run of so many steps, of which `first` and `last` change none; one
    step before tells what matters."""
    if max(first, 1) >= steps - last:
        raise ConfigError(
            f"adalora_tinit, adalora_tfinal: no rank can fall between step {max(first, 1)} and the last {last} of "
            f"{steps}; lower one of them, or train longer"
        )


def penalty(model: Any) -> "torch.Tensor":
    """Return how far the factors are from orthogonal, to be added to the loss of a step."""
    import torch

    distances = []
    for name, weight in model.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            product = weight @ weight.T if ".lora_A." in name else weight.T @ weight
            distances.append(torch.linalg.matrix_norm(product - torch.eye(len(product), device=product.device)))
    return model.peft_config["default"].orth_reg_weight * torch.stack(distances).mean()


def save(model: Any, folder: Path, base: str | None = None) -> None:
    """Write the adapter at its full size, values that were taken being zero, and the averages of importance."""
    from safetensors.torch import save_file

    config, allocator = model.peft_config["default"], model.base_model.rankallocator
    pattern, config.rank_pattern = config.rank_pattern, None  # with which peft would leave out what may come back
    _peft.save(model, folder, base)
    config.rank_pattern = pattern
    save_file(_importance(allocator, pattern), folder / IMPORTANCE)


def restore(model: Any, folder: Path) -> None:
    """Read the adapter and the averages of importance back; raises as LoRA's."""
    import torch
    from safetensors.torch import load_file

    _peft.restore(model, folder)
    saved: dict[str, dict[str, Any]] = {"ipt": {}, "unc": {}, "kept": {}}
    for key, tensor in load_file(folder / IMPORTANCE).items():
        kind, _, name = key.partition(" ")
        saved[kind][name] = tensor
    allocator, config = model.base_model.rankallocator, model.peft_config["default"]
    allocator.exp_avg_ipt, allocator.exp_avg_unc = saved["ipt"], saved["unc"]
    allocator.ipt = {name: torch.zeros_like(tensor) for name, tensor in saved["ipt"].items()}
    config.rank_pattern = {name: tensor.tolist() for name, tensor in saved["kept"].items()} or None


def _importance(allocator: Any, pattern: dict[str, list[bool]] | None) -> "dict[str, torch.Tensor]":
    import torch

    return {
        **{f"ipt {name}": tensor for name, tensor in allocator.exp_avg_ipt.items()},
        **{f"unc {name}": tensor for name, tensor in allocator.exp_avg_unc.items()},
        **{f"kept {name}": torch.tensor(kept) for name, kept in (pattern or {}).items()},
    }
