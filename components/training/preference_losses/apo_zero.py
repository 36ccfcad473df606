"""Anchored preference optimisation (D'Oosterlinck et al. 2024, arXiv 2408.06266) where chosen answers are better than
the model's."""

from torch import Tensor

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return the loss that makes chosen answers likelier and rejected ones less likely, as equation 7 has it."""
    chosen, rejected = pairs.beta * pairs.chosen_ratio, pairs.beta * pairs.rejected_ratio
    return 1 - chosen.sigmoid() + rejected.sigmoid()
