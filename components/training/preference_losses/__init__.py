"""Losses of preference pairs: one file each, named by `--loss_type` (sigmoid, ipo, …)."""

from typing import TYPE_CHECKING, NamedTuple, Protocol

from components.config import Params
from components.plugins import Kind

if TYPE_CHECKING:
    from torch import Tensor


class Preferences(NamedTuple):
    """Log probabilities of the answers of some pairs, in nats, each summed over the answer's learned tokens [pairs].

    Attributes:
        chosen: of the chosen answers, by the model that learns.
        rejected: of the rejected answers.
        ref_chosen: of the chosen answers by the reference model, 0 without one.
        ref_rejected: of the rejected answers by the reference model.
        chosen_score: how far the model is from the reference: `chosen - ref_chosen`, or the derivative of another
            divergence (--f_divergence_type) there.
        rejected_score: the same of the rejected answers.
        chosen_tokens: learned tokens of the chosen answers.
        rejected_tokens: learned tokens of the rejected answers.
        beta: how strongly the model is held to the reference.
        nll: mean negative log probability of a token of the chosen answers, none of them weighed down (--ld_alpha).
    """

    chosen: "Tensor"
    rejected: "Tensor"
    ref_chosen: "Tensor"
    ref_rejected: "Tensor"
    chosen_score: "Tensor"
    rejected_score: "Tensor"
    chosen_tokens: "Tensor"
    rejected_tokens: "Tensor"
    nll: "Tensor"
    beta: float

    @property
    def chosen_ratio(self) -> "Tensor":
        """Logarithm of the ratio of model and reference for the chosen answers."""
        return self.chosen - self.ref_chosen

    @property
    def rejected_ratio(self) -> "Tensor":
        """Logarithm of the ratio of model and reference for the rejected answers."""
        return self.rejected - self.ref_rejected

    @property
    def margin(self) -> "Tensor":
        """By how much the chosen answers' scores are greater."""
        return self.chosen_score - self.rejected_score


class PreferenceLoss(Protocol):
    """What the file of a loss of preference pairs defines."""

    def losses(self, pairs: Preferences, params: Params) -> "Tensor":
        """Return the loss of each pair [pairs]."""
        ...


PREFERENCE_LOSSES = Kind("loss of preferences", "loss_type", __name__, PreferenceLoss)
