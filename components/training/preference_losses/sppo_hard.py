"""Self-play preference optimisation (Wu et al. 2024, arXiv 2405.00675), the winner being certain."""

from torch import Tensor

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return the squared distances of both ratios from plus and minus 1 / (2 beta), as equation 4.7 has them."""
    half = 0.5 / pairs.beta
    return (pairs.chosen_ratio - half) ** 2 + (pairs.rejected_ratio + half) ** 2
