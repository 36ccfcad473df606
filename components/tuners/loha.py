"""LoHa (Hyeon-Woo et al. 2021, arXiv 2108.06098): the elementwise product of two low-rank updates."""

from typing import TYPE_CHECKING

from components.config import Params
from components.tuners._peft import load, merge, restore, save, with_adapter

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["LEARNING_RATE", "load", "merge", "restore", "save", "wrap"]

LEARNING_RATE = 1e-3
QUANTIZED_BASE = False


def wrap(model: "PreTrainedModel", params: Params, seed: int) -> "PeftModel":
    """Freeze `model` and put LoHa on its targets. Raises as LoRA's."""
    from peft import LoHaConfig

    lycoris = params.lycoris
    return with_adapter(
        model,
        params,
        seed,
        LoHaConfig,
        r=lycoris.lycoris_rank,
        alpha=lycoris.lycoris_alpha,
        rank_dropout=lycoris.lycoris_dropout,
    )
