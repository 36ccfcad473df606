"""The clipped surrogate of PPO (Schulman et al. 2017, arXiv 1707.06347)."""

import torch
from torch import Tensor

from components.config.groups.rollout import Rollout


def clipped(ratios: Tensor, advantages: Tensor, settings: Rollout) -> Tensor:
    """Return the negative of the smaller gain, of the ratios as they are and clipped."""
    gains = ratios.clamp(max=settings.delta) if settings.delta else ratios
    return -torch.minimum(gains * advantages, clip(ratios, settings) * advantages)


def clip(ratios: Tensor, settings: Rollout) -> Tensor:
    """Return the ratios within the range in which they have a gradient."""
    high = settings.epsilon if settings.epsilon_high is None else settings.epsilon_high
    return ratios.clamp(1 - settings.epsilon, 1 + high)
