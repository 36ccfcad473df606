"""DoRA (Liu et al. 2024, arXiv 2402.09353): LoRA on the direction of weights, whose magnitude is learned apart."""

from typing import TYPE_CHECKING

from components.config import Params
from components.tuners import lora
from components.tuners._eva import restore
from components.tuners._peft import load, merge, save
from components.tuners.lora import initialise

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["LEARNING_RATE", "initialise", "load", "merge", "restore", "save", "wrap"]

LEARNING_RATE = 1e-4
UNFIT_BASES = ("gptq", "awq", "aqlm", "eetq", "bnb-int8")


def wrap(model: "PreTrainedModel", params: Params, seed: int) -> "PeftModel":
    """Freeze `model` and put DoRA on its targets, with LoRA's rank, alpha and dropout. Raises as LoRA's."""
    return lora.wrap(model, params, seed, use_dora=True)
