"""HQQ, half-quadratic quantization (Badri & Shaji 2023, https://dropbox.github.io/hqq_blog): no sample rows, on any
device."""

from typing import TYPE_CHECKING, Any

from components.config.groups.quantization import Quantization

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

BITS = (1, 2, 3, 4, 8)
MODULES = ("hqq", "termcolor")
INSTALL = ("hqq>=0.2.8", "termcolor")


def config(params: Quantization, dtype: "torch.dtype") -> Any:
    """Return a configuration that quantizes each linear layer but the head when the weights are loaded."""
    from components.models.quantization._hqq import Config

    precision = str(dtype).removeprefix("torch.")
    return Config(params.quant_bits, params.hqq_group_size, params.hqq_axis, precision)  # type: ignore[call-arg]


def prepare(model: "PreTrainedModel") -> "PreTrainedModel":
    """Return the model as it is: its layers compute in the precision of the run, and pass gradients on."""
    return model
