"""LoKr (Yeh et al. 2023, arXiv 2309.14859): the update of a layer as a Kronecker product."""

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
    """Freeze `model` and put LoKr on its targets. Raises as LoRA's."""
    from peft import LoKrConfig

    lycoris = params.lycoris
    return with_adapter(
        model,
        params,
        seed,
        LoKrConfig,
        r=lycoris.lycoris_rank,
        alpha=lycoris.lycoris_alpha,
        rank_dropout=lycoris.lycoris_dropout,
        decompose_factor=lycoris.lokr_factor,
    )
