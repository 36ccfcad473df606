"""Losses of sampled answers and their advantages: one file each, named by `--loss_type` (grpo, dapo, dr_grpo, …)."""

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from components.config import Params
from components.plugins import Kind

if TYPE_CHECKING:
    from torch import Tensor


class PolicyTokens(NamedTuple):
    """The tokens of some sampled answers.

    Attributes:
        log_probs: log probability of each token by the model that learns, in nats [tokens].
        ratios: probability of each token over that by the model that sampled it, or with `--importance_sampling_level
            sequence` the geometric mean of these of its answer [tokens].
        log_ratios: logarithm of the probability of each token over that by the model that sampled it [tokens].
        advantages: of each token's answer [tokens].
        lengths: learned tokens of each token's answer [tokens].
        owners: number of each token's answer [tokens].
    """

    log_probs: "Tensor"
    ratios: "Tensor"
    log_ratios: "Tensor"
    advantages: "Tensor"
    lengths: "Tensor"
    owners: "Tensor"


class PolicyLoss(Protocol):
    """What the file of a loss of sampled answers defines."""

    DIVISOR: Literal["answers", "tokens"]
    """What the sum of the weighted losses of an optimizer step is divided by the number of."""

    def losses(self, tokens: PolicyTokens, params: Params) -> "Tensor":
        """Return the loss of each token [tokens]."""
        ...

    def weights(self, lengths: "Tensor", params: Params) -> "Tensor":
        """Return the weight of each token by the length of its answer [tokens]; the distance to the reference model is
        weighed the same."""
        ...


POLICY_LOSSES = Kind("loss of sampled answers", "loss_type", __name__, PolicyLoss)
