"""Robust DPO (Chowdhury et al. 2024, arXiv 2403.00409): unbiased where a share of the labels is wrong."""

from torch import Tensor
from torch.nn import functional

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return an estimate of the loss on right labels; --label_smoothing is the share of wrong ones."""
    logits, smoothing = pairs.beta * pairs.margin, params.preference.label_smoothing
    right, wrong = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    return (smoothing * wrong - (1 - smoothing) * right) / (1 - 2 * smoothing)
