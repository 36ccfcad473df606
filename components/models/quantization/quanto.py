"""Quanto, Hugging Face's linear quantization (optimum-quanto): no sample rows, on any device.

In 8 bits only: weights of 2 and 4 bits are unpacked by an extension that is compiled when it is first used, and where
that is killed, every later run waits for ever (optimum-quanto 0.2.7).
"""

from typing import TYPE_CHECKING, Any

from components.config.groups.quantization import Quantization

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

BITS = (8,)
MODULES = ("optimum.quanto",)
INSTALL = ("optimum-quanto>=0.2.7",)


def config(params: Quantization, dtype: "torch.dtype") -> Any:  # noqa: ARG001
    """Return transformers' QuantoConfig for integer weights."""
    from transformers import QuantoConfig

    return QuantoConfig(weights=f"int{params.quant_bits}")


def prepare(model: "PreTrainedModel") -> "PreTrainedModel":
    """Return the model as it is: its layers compute in the precision of the run, and pass gradients on."""
    return model
