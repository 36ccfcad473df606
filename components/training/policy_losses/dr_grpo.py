"""Dr. GRPO (Liu et al. 2025, arXiv 2503.20783): sums over tokens, divided by a constant, without a bias to length."""

import torch
from torch import Tensor

from components.config import Params
from components.training.policy_losses import PolicyTokens
from components.training.policy_losses._clipped import clipped

DIVISOR = "answers"


def losses(tokens: PolicyTokens, params: Params) -> Tensor:
    """Return the clipped loss of each token."""
    return clipped(tokens.ratios, tokens.advantages, params.rollout)


def weights(lengths: Tensor, params: Params) -> Tensor:
    """Return one over the longest length that is sampled."""
    return torch.full_like(lengths, 1 / params.rollout.max_completion_length)
