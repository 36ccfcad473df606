"""OFT (Qiu et al. 2023, arXiv 2306.07280; Cayley-Neumann form of arXiv 2506.19847): weights turned block by block."""

from typing import TYPE_CHECKING

from components.config import Params
from components.tuners._layers import require_divisor, targets
from components.tuners._peft import load, merge, restore, save, with_adapter

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["LEARNING_RATE", "load", "merge", "require_fit", "restore", "save", "wrap"]

LEARNING_RATE = 1e-3


def wrap(model: "PreTrainedModel", params: Params, seed: int) -> "PeftModel":
    """Freeze `model` and put OFT on its targets. Raises as LoRA's, and as `require_fit`."""
    require_fit(model, params)
    from peft import OFTConfig

    oft = params.oft
    return with_adapter(
        model,
        params,
        seed,
        OFTConfig,
        oft_block_size=oft.oft_block_size,
        coft=oft.oft_coft,
        eps=oft.oft_eps,
    )


def require_fit(model: "PreTrainedModel", params: Params) -> None:
    """Raise ConfigError where the blocks, which peft would then make of another size, do not divide the inputs of a
    target, or a name matches nothing."""
    require_divisor(model, targets(model, params), params.oft.oft_block_size, "oft_block_size")
