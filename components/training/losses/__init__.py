"""Losses of next-token prediction: one file each, named by `--loss_type` (cross_entropy, dft, …)."""

from typing import TYPE_CHECKING, Protocol

from components.config import Params
from components.plugins import Kind

if TYPE_CHECKING:
    from torch import Tensor


class LossMethod(Protocol):
    """What the file of a loss defines."""

    def losses(self, logits: "Tensor", targets: "Tensor", params: Params) -> "Tensor":
        """Return the loss of each token [tokens], with gradients.

        The tokens are those that are learned, of one row or many, in any order and number; what their losses add up
        to is weighted by `--loss_scale` and divided by the learned tokens of the whole optimizer step. So a loss
        comes to the same with any batch size, accumulation, packing and number of processes.

        Args:
            logits: [tokens, vocabulary], in the precision of the model.
            targets: [tokens], the id that is to follow each.
        """
        ...


LOSSES = Kind("loss", "loss_type", __name__, LossMethod)
