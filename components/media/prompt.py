"""Prompts with media, and the features of several in one batch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class MediaPrompt(list[int]):
    """The token ids of a prompt, as any other list of them, and what the model gets of its media.

    Attributes:
        features: the tensors of all media by name (`pixel_values`, …), as a batch of one row.
        types: what the processor says of each token beside its id (`mm_token_type_ids`), by name.
    """

    def __init__(self, ids: Iterable[int], features: "dict[str, Tensor]", types: Mapping[str, list[int]]) -> None:
        super().__init__(ids)
        self.features, self.types = features, types

    def followed_by(self, ids: Iterable[int]) -> "MediaPrompt":
        """Return the prompt with tokens of text behind it."""
        return MediaPrompt([*self, *ids], self.features, self.types)


def joined(parts: "Sequence[dict[str, Tensor]]") -> "dict[str, Tensor]":
    """Return features of several rows as those of one batch: behind each other in the first dimension, padded with 0 in
    the others, as processors pad them."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _stacked([part[name] for part in parts if name in part]) for name in names}


def _stacked(tensors: "list[Tensor]") -> "Tensor":
    sizes = [max(lengths) for lengths in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    whole = tensors[0].new_zeros((sum(len(tensor) for tensor in tensors), *sizes))
    start = 0
    for tensor in tensors:
        whole[(slice(start, start + len(tensor)), *map(slice, tensor.shape[1:]))] = tensor
        start += len(tensor)
    return whole
