"""Alignment via optimal transport (Melnyk et al. 2024, arXiv 2406.05882), paired."""

from torch import Tensor
from torch.nn import functional

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return the logistic loss of sorted margins, of the model and of the reference. The pairs of one forward pass are
    sorted, so the loss depends on the batch size."""
    margins = (pairs.chosen - pairs.rejected).sort().values - (pairs.ref_chosen - pairs.ref_rejected).sort().values
    logits, smoothing = pairs.beta * margins, params.preference.label_smoothing
    return -(1 - smoothing) * functional.logsigmoid(logits) - smoothing * functional.logsigmoid(-logits)
