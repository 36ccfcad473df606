"""DAPO (Yu et al. 2025, arXiv 2503.14476): the mean over all tokens of a step, which count the same."""

import torch
from torch import Tensor

from components.config import Params
from components.training.policy_losses import PolicyTokens
from components.training.policy_losses._clipped import clipped

DIVISOR = "tokens"


def losses(tokens: PolicyTokens, params: Params) -> Tensor:
    """Return the clipped loss of each token."""
    return clipped(tokens.ratios, tokens.advantages, params.rollout)


def weights(lengths: Tensor, params: Params) -> Tensor:
    """Return 1."""
    return torch.ones_like(lengths)
