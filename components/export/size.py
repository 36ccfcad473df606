"""The size of a model on the disk, and the check that a quantized model is quantized, and smaller."""

import math
from pathlib import Path
from typing import Any

from components.errors import MartletError


def size(folder: Path, weights: int | None = None) -> dict[str, Any]:
    """Return the bytes of a model folder's weights, their number, and the bits that each of them takes.

    Args:
        weights: the number of weights, by default that of the folder's own. Quantized tensors do not tell.
    """
    number = weights or sum(math.prod(shape) for shape in _shapes(folder).values())
    used = _bytes(folder)
    return {"bytes": used, "weights": number, "bits_per_weight": round(8 * used / number, 3)}


def quantized_size(source: Path, folder: Path, tensor: str) -> dict[str, Any]:
    """Return the number of quantized layers, and the bytes and bits of each weight before and after.

    Args:
        source: the model folder before quantization.
        folder: the quantized model folder.
        tensor: how the name of a tensor ends that only a quantized layer has.

    Raises:
        MartletError: no layer is quantized, or the weights are not smaller on the disk.
    """
    before = size(source)
    after = size(folder, before["weights"])
    layers = sum(name.endswith(tensor) for name in _shapes(folder))
    if not layers:
        raise MartletError(f"{folder.name}: no layer of the model is quantized: no tensor's name ends with {tensor}")
    if after["bytes"] >= before["bytes"]:
        raise MartletError(
            f"{folder.name}: the weights take {after['bytes']:,} bytes, and took {before['bytes']:,} before"
        )
    return {
        "quantized_layers": layers,
        "weights": before["weights"],
        **{f"{name}_{when}": table[name]
           for name in ("bytes", "bits_per_weight") for when, table in (("before", before), ("after", after))},
    }  # fmt: skip


def _shapes(folder: Path) -> dict[str, list[int]]:
    """Return the shape of each tensor in a model folder, by its name."""
    from safetensors import safe_open

    shapes: dict[str, list[int]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "np") as tensors:
            shapes |= {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
    return shapes


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
