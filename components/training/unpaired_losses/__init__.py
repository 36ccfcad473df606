"""Losses of answers that are judged one by one: one file each, named by `--loss_type` (kto, apo_zero_unpaired)."""

from typing import TYPE_CHECKING, NamedTuple, Protocol

from components.config import Params
from components.plugins import Kind

if TYPE_CHECKING:
    from torch import Tensor


class Judged(NamedTuple):
    """Answers of one forward pass.

    Attributes:
        ratios: logarithm of the ratio of model and reference for each answer, in nats [answers].
        is_good: whether it is a good one [answers].
        kl: estimate of the model's distance from the reference, at least 0, without a gradient (a scalar); 0 with
            apo_zero_unpaired.
        beta: how strongly the model is held to the reference.
    """

    ratios: "Tensor"
    is_good: "Tensor"
    kl: "Tensor"
    beta: float


class UnpairedLoss(Protocol):
    """What the file of a loss of judged answers defines."""

    def losses(self, answers: Judged, params: Params) -> "Tensor":
        """Return the loss of each answer [answers]."""
        ...


UNPAIRED_LOSSES = Kind("loss of judged answers", "loss_type", __name__, UnpairedLoss)
