"""A hinge in place of the logistic loss (SLiC, Zhao et al. 2023, arXiv 2305.10425)."""

from torch import Tensor

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return by how much the scaled margin is less than 1."""
    return (1 - pairs.beta * pairs.margin).relu()
