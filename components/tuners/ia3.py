"""IA³ (Liu et al. 2022, arXiv 2205.05638): learned vectors that scale what frozen linear layers take or give."""

from typing import TYPE_CHECKING

from components.config import Params
from components.tuners._layers import short_names, targets
from components.tuners._peft import load, merge, restore, save, with_adapter

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["LEARNING_RATE", "load", "merge", "restore", "save", "wrap"]

LEARNING_RATE = 3e-3
"""The paper's; vectors of scales take far larger steps than matrices."""
UNFIT_BASES = ("gptq", "awq", "aqlm", "eetq", "hqq")


def wrap(model: "PreTrainedModel", params: Params, seed: int) -> "PeftModel":
    """Freeze `model` and put a vector on each target: on the input of those that end a feed-forward
    block (by peft's table), on the output of the others.

    Raises:
        ConfigError: a target, or a module to save, matches nothing in the model.
        MartletError: peft adapted other layers than its targets.
    """
    from peft import IA3Config
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING

    names = short_names(model, targets(model, params))
    table = TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING.values()
    ends = tuple(end for model_ends in table for end in model_ends)
    inputs = [name for name in names if name.endswith(ends)]
    return with_adapter(model, params, seed, IA3Config, feedforward_modules=inputs)
