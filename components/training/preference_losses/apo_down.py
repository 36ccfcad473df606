"""Anchored preference optimisation (D'Oosterlinck et al. 2024, arXiv 2408.06266) where the model is better than chosen
answers."""

from torch import Tensor

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return the loss that makes both answers less likely, and the rejected one more so, as equation 8 has it."""
    beta = pairs.beta
    return (beta * pairs.chosen_ratio).sigmoid() + 1 - (beta * (pairs.chosen_ratio - pairs.rejected_ratio)).sigmoid()
