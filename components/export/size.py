"""Whether a quantized model is one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import MartletError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def require_smaller(source: Path, folder: Path, model: "PreTrainedModel", layer_class: str) -> dict[str, Any]:
    """Return the bytes of weights before and after, and how many layers of the loaded `model` are quantized.

    Args:
        layer_class: name of the class that a quantized layer has.

    Raises:
        MartletError: no layer is quantized, or the weights take no less space on the disk.
    """
    layers = sum(type(module).__name__ == layer_class for module in model.modules())
    before, after = (sum(file.stat().st_size for file in f.glob("*.safetensors")) for f in (source, folder))
    if not layers:
        raise MartletError(f"{folder.name}: no layer of the model is a {layer_class}: it would not run quantized")
    if after >= before:
        raise MartletError(f"{folder.name}: the weights take {after:,} bytes, and took {before:,} before")
    return {"quantized_layers": layers, "bytes_before": before, "bytes_after": after}
