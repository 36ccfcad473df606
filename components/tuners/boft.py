"""BOFT (Liu et al. 2023, arXiv 2311.06243): weights turned by orthogonal matrices that are butterfly products."""

from typing import TYPE_CHECKING

from components.config import Params
from components.errors import ConfigError
from components.tuners._layers import require_divisor, targets
from components.tuners._peft import load, merge, restore, save, with_adapter

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["LEARNING_RATE", "load", "merge", "require_fit", "restore", "save", "wrap"]

LEARNING_RATE = 1e-3
QUANTIZED_BASE = False


def wrap(model: "PreTrainedModel", params: Params, seed: int) -> "PeftModel":
    """Freeze `model` and put BOFT on its targets. Raises as LoRA's, and as `require_fit`."""
    require_fit(model, params)
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


def require_fit(model: "PreTrainedModel", params: Params) -> None:
    """Raise ConfigError where the blocks do not divide the inputs of a target, or a name matches nothing."""
    boft = params.boft
    if not boft.boft_block_num + boft.boft_block_size:
        raise ConfigError(
            "boft_block_size: 0 is no size of a block; give one, or the number of blocks (boft_block_num)"
        )
    parameter = "boft_block_num" if boft.boft_block_num else "boft_block_size"
    require_divisor(model, targets(model, params), getattr(boft, parameter), parameter)
