"""LoRA (Hu et al. 2021, arXiv 2106.09685): low-rank matrices beside frozen linear layers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.config import Params
from components.tuners import _eva, _loftq
from components.tuners._eva import restore
from components.tuners._peft import load, merge, save, saves_tied, with_adapter

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["LEARNING_RATE", "initialise", "load", "merge", "restore", "save", "wrap"]

LEARNING_RATE = 1e-4
SHARDED = True


def wrap(model: "PreTrainedModel", params: Params, seed: int, **variant: Any) -> "PeftModel":
    """Freeze `model` and put LoRA on its targets; `variant` is what a variant of LoRA adds to peft's LoraConfig.

    Raises:
        ConfigError: a target, or a module to save, matches nothing in the model; or the first values need another rank.
        MartletError: peft adapted other layers than its targets.
    """
    from peft import EvaConfig, LoraConfig

    lora = params.lora
    if lora.init_weights == "eva":
        _eva.require_room(model, params)
    alpha = int(lora.lora_alpha) if lora.lora_alpha == int(lora.lora_alpha) else lora.lora_alpha
    adapted = with_adapter(
        model,
        params,
        seed,
        LoraConfig,
        r=lora.lora_rank,
        lora_alpha=alpha,
        lora_dropout=lora.lora_dropout,
        use_rslora=lora.use_rslora,
        eva_config=EvaConfig(rho=_eva.RHO) if lora.init_weights == "eva" else None,
        init_lora_weights=True if lora.init_weights in ("true", "loftq") else lora.init_weights,
        ensure_weight_tying=saves_tied(model, params.tuner.modules_to_save),
        **variant,
    )
    adapted.first_values = lora.init_weights  # type: ignore[assignment]
    return adapted


def initialise(model: "PeftModel", rows: Sequence[Mapping[str, Any]]) -> None:
    """Set the first values that depend on the run's rows (eva), or on what a quantization took (loftq).

    Raises:
        ConfigError: they cannot be had, as `_eva.initialise` and `_loftq.initialise` say.
    """
    if model.first_values == "eva":  # type: ignore[comparison-overlap]
        _eva.initialise(model, rows)
    if model.first_values == "loftq":  # type: ignore[comparison-overlap]
        _loftq.initialise(model)
