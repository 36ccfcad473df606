"""VeRA (Kopiczko et al. 2023, arXiv 2310.11454): learned vectors around two random matrices that all layers share."""

from typing import TYPE_CHECKING

from components.config import Params
from components.tuners._peft import load, merge, restore, save, with_adapter

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["LEARNING_RATE", "load", "merge", "restore", "save", "wrap"]

LEARNING_RATE = 4e-3


def wrap(model: "PreTrainedModel", params: Params, seed: int) -> "PeftModel":
    """Freeze `model` and put VeRA on its targets. Raises as LoRA's."""
    from peft import VeraConfig

    vera = params.vera
    return with_adapter(
        model,
        params,
        seed,
        VeraConfig,
        r=vera.vera_rank,
        projection_prng_key=vera.vera_projection_prng_key,
        vera_dropout=vera.vera_dropout,
        d_initial=vera.vera_d_initial,
    )
