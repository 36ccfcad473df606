"""Noise contrastive alignment (Chen et al. 2024, arXiv 2402.05369), for pairs."""

from torch import Tensor
from torch.nn import functional

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return the loss of each answer being told from noise; the chosen one stays likely."""
    chosen, rejected = pairs.beta * pairs.chosen_ratio, pairs.beta * pairs.rejected_ratio
    noise = functional.logsigmoid(-chosen) + functional.logsigmoid(-rejected)
    return -functional.logsigmoid(chosen) - 0.5 * noise
