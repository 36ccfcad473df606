"""BOFT (Liu et al. 2023, arXiv 2311.06243): weights turned by orthogonal matrices that are butterfly products."""

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
    """Freeze `model` and put BOFT on its targets. Raises as LoRA's."""
    from peft import BOFTConfig

    boft = params.boft
    return with_adapter(
        model,
        params,
        seed,
        BOFTConfig,
        boft_block_size=0 if boft.boft_block_num else boft.boft_block_size,
        boft_block_num=boft.boft_block_num,
        boft_dropout=boft.boft_dropout,
    )
