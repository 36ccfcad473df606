"""bitsandbytes: NF4 and FP4 (Dettmers et al. 2023, arXiv 2305.14314), LLM.int8() (2022, arXiv 2208.07339)."""

import logging
from typing import TYPE_CHECKING, Any

from components.config.groups.quantization import Quantization

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

BITS = (4, 8)


def config(params: Quantization, dtype: "torch.dtype") -> Any:
    """Return transformers' BitsAndBytesConfig for four or eight bits."""
    import torch
    from transformers import BitsAndBytesConfig

    # It warns at every call of every layer that float32 is cast to float16, as LLM.int8() has it.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if params.quant_bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    compute = params.bnb_4bit_compute_dtype
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=params.bnb_4bit_quant_type,
        bnb_4bit_compute_dtype=getattr(torch, compute) if compute else dtype,
        bnb_4bit_use_double_quant=params.bnb_4bit_use_double_quant,
    )


def prepare(model: "PreTrainedModel") -> "PreTrainedModel":
    """Return the model with norms and head in float32 and nothing to learn; peft's recipe for QLoRA."""
    from peft import prepare_model_for_kbit_training

    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)  # the trainer switches that
