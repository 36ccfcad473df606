"""LoRA (Hu et al. 2021, arXiv 2106.09685): low-rank matrices beside frozen linear layers."""

from typing import TYPE_CHECKING, Any

from components.config import Params
from components.tuners._eva import RHO, initialise, require_room, restore
from components.tuners._peft import load, merge, save, saves_tied, with_adapter

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["LEARNING_RATE", "initialise", "load", "merge", "restore", "save", "wrap"]

LEARNING_RATE = 1e-4


def wrap(model: "PreTrainedModel", params: Params, seed: int, **variant: Any) -> "PeftModel":
    """Freeze `model` and put LoRA on its targets; `variant` is what a variant of LoRA adds to peft's LoraConfig.

    Raises:
        ConfigError: a target, or a module to save, matches nothing in the model; or the first values need another rank.
        MartletError: peft adapted other layers than its targets.
    """
    from peft import EvaConfig, LoraConfig

    lora = params.lora
    if lora.init_weights == "eva":
        require_room(model, params)
    alpha = int(lora.lora_alpha) if lora.lora_alpha == int(lora.lora_alpha) else lora.lora_alpha
    return with_adapter(
        model,
        params,
        seed,
        LoraConfig,
        r=lora.lora_rank,
        lora_alpha=alpha,
        lora_dropout=lora.lora_dropout,
        use_rslora=lora.use_rslora,
        eva_config=EvaConfig(rho=RHO) if lora.init_weights == "eva" else None,
        init_lora_weights=True if lora.init_weights == "true" else lora.init_weights,
        ensure_weight_tying=saves_tied(model, params.tuner.modules_to_save),
        **variant,
    )
