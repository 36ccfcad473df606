"""Group relative policy optimisation (Shao et al. 2024, arXiv 2402.03300): means over tokens, then answers."""

from torch import Tensor

from components.config import Params
from components.training.policy_losses import PolicyTokens
from components.training.policy_losses._clipped import clipped

DIVISOR = "answers"


def losses(tokens: PolicyTokens, params: Params) -> Tensor:
    """Return the clipped loss of each token."""
    return clipped(tokens.ratios, tokens.advantages, params.rollout)


def weights(lengths: Tensor, params: Params) -> Tensor:
    """Return one over the length: answers count the same."""
    return 1 / lengths
