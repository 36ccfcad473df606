"""CISPO (MiniMax 2025, arXiv 2506.13585): the ratio is clipped and weighs the gradient, which no token loses."""

import torch
from torch import Tensor

from components.config import Params
from components.training.policy_losses import PolicyTokens
from components.training.policy_losses._clipped import clip

DIVISOR = "tokens"


def losses(tokens: PolicyTokens, params: Params) -> Tensor:
    """Return the log probability of each token, weighed by its clipped ratio and its advantage."""
    return -clip(tokens.ratios, params.rollout).detach() * tokens.advantages * tokens.log_probs


def weights(lengths: Tensor, params: Params) -> Tensor:
    """Return 1."""
    return torch.ones_like(lengths)
