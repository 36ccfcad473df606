"""Prompts with media."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class MediaPrompt(list[int]):
    """The token ids of a prompt, as any other list of them, and what the model gets of its media.

    Attributes:
        features: the tensors of all media by name (`pixel_values`, …), as a batch of one row.
        types: what the processor says of each token beside its id (`mm_token_type_ids`), by name.
        processor: the name of the processor's class, by which features are joined.
    """

    def __init__(
        self, ids: Iterable[int], features: "dict[str, Tensor]", types: Mapping[str, list[int]], processor: str
    ) -> None:
        super().__init__(ids)
        self.features, self.types, self.processor = features, types, processor

    def followed_by(self, ids: Iterable[int]) -> "MediaPrompt":
        """Return the prompt with tokens of text behind it."""
        return MediaPrompt([*self, *ids], self.features, self.types, self.processor)
