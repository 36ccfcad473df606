"""Odds ratio preference optimisation (Hong et al. 2024, arXiv 2403.07691), what stands beside the answer's own loss."""

import torch
from torch import Tensor
from torch.nn import functional

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return beta times the negative log sigmoid of the log odds ratio, of mean probabilities of a token."""
    chosen, rejected = pairs.chosen / pairs.chosen_tokens, pairs.rejected / pairs.rejected_tokens
    odds = chosen - rejected - (_log_complement(chosen) - _log_complement(rejected))
    return -pairs.beta * functional.logsigmoid(odds)


def _log_complement(log_probs: Tensor) -> Tensor:
    """Return the logarithm of 1 - p, exact for p near 0 and near 1; p = 1 is taken for a little less."""
    log_probs = log_probs.clamp(max=-1e-7)
    near_one = (-torch.expm1(log_probs)).log()
    return torch.where(log_probs > -0.693, near_one, torch.log1p(-log_probs.exp()))
