"""Methods that quantize a base while it is loaded: one file each, named by `--quant_method` (bnb, …).

An adapter that was trained on such a base is merged into the weights as they are stored, which are not quantized; the
stage `merge` says how far the two bases are apart.
"""

from typing import TYPE_CHECKING, Any, Protocol

from components.config.groups.quantization import Quantization
from components.plugins import Kind

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class QuantizationMethod(Protocol):
    """What the file of a quantization method defines."""

    def config(self, params: Quantization, dtype: "torch.dtype") -> Any:
        """Return what `from_pretrained` takes as `quantization_config`; `dtype` is the precision of the run."""
        ...

    def prepare(self, model: "PreTrainedModel") -> "PreTrainedModel":
        """Return the loaded model, ready for an adapter to be trained on it."""
        ...


QUANTIZATIONS = Kind("quantization method", "quant_method", __name__, QuantizationMethod)
