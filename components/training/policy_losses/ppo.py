"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347): the mean over all tokens of a step, each with
an advantage of its own."""

import torch
from torch import Tensor

from components.config import Params
from components.training.policy_losses import PolicyTokens

DIVISOR = "tokens"


def losses(tokens: PolicyTokens, params: Params) -> Tensor:
    """Return the clipped loss of each token."""
    clipped = tokens.ratios.clamp(1 - params.ppo.cliprange, 1 + params.ppo.cliprange)
    return -torch.minimum(tokens.ratios * tokens.advantages, clipped * tokens.advantages)


def weights(lengths: Tensor, params: Params) -> Tensor:
    """Return 1."""
    return torch.ones_like(lengths)
