"""The check that a quantized model is quantized, and smaller."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import MartletError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def require_smaller(source: Path, folder: Path, model: "PreTrainedModel", layer_class: str) -> dict[str, Any]:
    """Return the bytes of weights before and after, and the number of quantized layers.

    Args:
        source: the model folder before quantization.
        folder: the quantized model folder.
        model: the model loaded from `folder`.
        layer_class: class name of a quantized layer.

    Raises:
        MartletError: no layer is quantized, or the weights are not smaller on the disk.
    """
    layers = sum(type(module).__name__ == layer_class for module in model.modules())
    before, after = _weight_bytes(source), _weight_bytes(folder)
    if not layers:
        raise MartletError(f"{folder.name}: no layer of the model is a {layer_class}: it would not run quantized")
    if after >= before:
        raise MartletError(f"{folder.name}: the weights take {after:,} bytes, and took {before:,} before")
    return {"quantized_layers": layers, "bytes_before": before, "bytes_after": after}


def _weight_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
