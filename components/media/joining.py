"""Features of several rows as those of one batch."""

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LAST: dict[str, tuple[str, ...]] = {
    "MiniCPMOcrProcessor": ("pixel_values", "pixel_values_videos"),
    "MiniCPMV4_6Processor": ("pixel_values", "pixel_values_videos"),
    "MiniCPMV4_7Processor": ("pixel_values", "pixel_values_videos"),
}
"""Features that a class of processors joins in their last dimension, where all others are joined in the first."""
INDICES = {
    "Molmo2Processor": {"image_token_pooling": "pixel_values", "video_token_pooling": "pixel_values_videos"},
}
"""Features of a class of processors that are numbers of patches, and the features that have the patches."""


def joined(parts: "Sequence[dict[str, torch.Tensor]]", processor: str = "") -> "dict[str, torch.Tensor]":
    """Return features of several rows as those of one batch: behind each other in the first dimension, padded with 0 in
    the others, as processors pad them.

    Args:
        processor: the name of its class.
    """
    import torch

    names = dict.fromkeys(name for part in parts for name in part)
    of_rows = {name: [part[name] for part in parts if name in part] for name in names}
    for name, patches in INDICES.get(processor, {}).items():
        if name in of_rows:
            starts = accumulate((value.shape[0] * value.shape[1] for value in of_rows[patches]), initial=0)
            numbers = zip(of_rows[name], starts, strict=False)
            of_rows[name] = [torch.where(number < 0, number, number + start) for number, start in numbers]
    last = LAST.get(processor, ())
    return {name: torch.cat(row, -1) if name in last else _stacked(row) for name, row in of_rows.items()}


def _stacked(tensors: "list[torch.Tensor]") -> "torch.Tensor":
    import torch

    sizes = [max(lengths) for lengths in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    whole = tensors[0].new_zeros((sum(len(tensor) for tensor in tensors), *sizes))
    start = 0
    for tensor in tensors:
        whole[(slice(start, start + len(tensor)), *map(slice, tensor.shape[1:]))] = tensor
        start += len(tensor)
    return torch.as_tensor(whole)
