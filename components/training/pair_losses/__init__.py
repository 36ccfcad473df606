"""Losses of embeddings: one file each, named by `--loss_type` (infonce, cosine_similarity, …)."""

from typing import TYPE_CHECKING, NamedTuple, Protocol

from components.config import Params
from components.plugins import Kind

if TYPE_CHECKING:
    from torch import Tensor


class Pairs(NamedTuple):
    """The vectors of the texts of some rows, each of length 1, in float32.

    Attributes:
        anchors: [rows, width].
        positives: [rows, width], of the texts that belong to the anchors.
        negatives: [texts, width], of texts that do not; a row has any number of them.
        owners: [texts], the row of each negative.
        scores: [rows], how alike anchor and positive are, from 0 to 1; 1 where the row does not say.
    """

    anchors: "Tensor"
    positives: "Tensor"
    negatives: "Tensor"
    owners: "Tensor"
    scores: "Tensor"


class PairLoss(Protocol):
    """What the file of a loss of embeddings defines."""

    def loss(self, pairs: Pairs, params: Params) -> "Tensor":
        """Return the sum of the losses of the rows; the caller divides by the rows of the optimizer step."""
        ...


PAIR_LOSSES = Kind("loss of embeddings", "loss_type", __name__, PairLoss)
