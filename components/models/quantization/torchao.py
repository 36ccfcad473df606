"""torchao: weights as integers with a scale for each output (8 bits) or for each 32 inputs (4 bits)."""

from typing import TYPE_CHECKING, Any

from components.config.groups.quantization import Quantization

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

BITS = (4, 8)
MODULES = ("torchao",)
INSTALL = ("torchao>=0.18",)


def config(params: Quantization, dtype: "torch.dtype") -> Any:  # noqa: ARG001
    """Return transformers' TorchAoConfig for integer weights, whose computations are those of plain weights."""
    import torch
    from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig, PerGroup  # type: ignore[import-not-found]
    from transformers import TorchAoConfig

    four = IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32))  # type: ignore[attr-defined]
    return TorchAoConfig(Int8WeightOnlyConfig() if params.quant_bits == 8 else four)


def prepare(model: "PreTrainedModel") -> "PreTrainedModel":
    """Return the model as it is: its layers compute in the precision of the run, and pass gradients on."""
    return model
