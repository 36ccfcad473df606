"""REINFORCE leave-one-out (Ahmadian et al. 2024, arXiv 2402.14740): an answer is one action, with one ratio."""

from torch import Tensor

from components.config import Params
from components.training.policy_losses import PolicyTokens
from components.training.policy_losses._clipped import clipped

DIVISOR = "answers"


def losses(tokens: PolicyTokens, params: Params) -> Tensor:
    """Return the clipped loss of each answer, shared among its tokens."""
    size = int(tokens.owners.max()) + 1 if len(tokens.owners) else 0
    sums = tokens.log_ratios.new_zeros(size).index_add(0, tokens.owners, tokens.log_ratios)
    return clipped(sums.exp()[tokens.owners], tokens.advantages, params.rollout)


def weights(lengths: Tensor, params: Params) -> Tensor:
    """Return one over the length: the losses of the tokens of an answer add up to the loss of the answer."""
    return 1 / lengths
