"""Prefix tuning (Li and Liang 2021, arXiv 2101.00190): learned keys and values that every token attends to."""

from typing import TYPE_CHECKING

from components.config import Params
from components.tuners._modules import refuse_merge as merge
from components.tuners._peft import load, restore, save, with_prompt

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["LEARNING_RATE", "load", "merge", "restore", "save", "wrap"]

LEARNING_RATE = 1e-2
MERGES = False
TARGETS = False
TEXT_ONLY = True
EXCLUDES = ("packing", "padding_free", "gradient_checkpointing", "modules_to_save")


def wrap(model: "PreTrainedModel", params: Params, seed: int) -> "PeftModel":
    """Freeze `model` and put a learned prefix before what it reads.

    Raises:
        ConfigError: peft cannot put a prefix into the architecture.
    """
    from peft import PrefixTuningConfig

    return with_prompt(model, seed, PrefixTuningConfig, num_virtual_tokens=params.prefix.num_virtual_tokens)
