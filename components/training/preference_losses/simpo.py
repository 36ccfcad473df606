"""Simple preference optimisation (Meng et al. 2024, arXiv 2405.14734): means over tokens and a margin, no reference."""

from torch import Tensor
from torch.nn import functional

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return the cross entropy of the label that the chosen answer is the better one by `simpo_gamma`."""
    settings = params.preference
    margin = pairs.chosen / pairs.chosen_tokens - pairs.rejected / pairs.rejected_tokens
    logits, smoothing = pairs.beta * margin - settings.simpo_gamma, settings.label_smoothing
    return -(1 - smoothing) * functional.logsigmoid(logits) - smoothing * functional.logsigmoid(-logits)
