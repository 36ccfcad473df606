"""EETQ (NetEase FuXi): 8-bit weights with CUDA kernels, which transformers fetches from the hub as a binary. Written
from transformers' and peft's sources and not run: docs/gpu-checks.md has the command."""

from typing import TYPE_CHECKING, Any

from components.config.groups.quantization import Quantization

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

BITS = (8,)
MODULES = ("kernels", "eetq")
INSTALL = ("kernels", "git+https://github.com/NetEase-FuXi/EETQ")
ACCELERATOR = True


def config(params: Quantization, dtype: "torch.dtype") -> Any:  # noqa: ARG001
    """Return transformers' EetqConfig."""
    from transformers import EetqConfig

    return EetqConfig("int8")


def prepare(model: "PreTrainedModel") -> "PreTrainedModel":
    """Return the model as it is; its layers compute in float16."""
    return model
