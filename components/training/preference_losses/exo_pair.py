"""Efficient exact optimisation (Ji et al. 2024, arXiv 2402.00856): the reverse KL divergence."""

import math

from torch import Tensor
from torch.nn import functional

from components.config import Params
from components.training.preference_losses import Preferences

DEFAULT_SMOOTHING = 1e-3
"""Label smoothing where none is given: the divergence from a certain label is infinite."""


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return the divergence of the preferences of the model from the smoothed label, as equation 16 has it."""
    logits, smoothing = pairs.beta * pairs.margin, params.preference.label_smoothing or DEFAULT_SMOOTHING
    better, worse = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    return better.exp() * (better - math.log(1 - smoothing)) + worse.exp() * (worse - math.log(smoothing))
