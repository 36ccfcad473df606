"""Alignment via optimal transport (Melnyk et al. 2024, arXiv 2406.05882), unpaired."""

from torch import Tensor
from torch.nn import functional

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return the logistic loss of the differences of sorted ratios. The answers of one forward pass are sorted, so the
    loss depends on the batch size."""
    logits = pairs.beta * (pairs.chosen_ratio.sort().values - pairs.rejected_ratio.sort().values)
    smoothing = params.preference.label_smoothing
    return -(1 - smoothing) * functional.logsigmoid(logits) - smoothing * functional.logsigmoid(-logits)
