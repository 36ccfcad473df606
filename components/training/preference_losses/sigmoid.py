"""The loss of DPO (Rafailov et al. 2023, arXiv 2305.18290), with label smoothing the conservative one."""

from torch import Tensor
from torch.nn import functional

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return the cross entropy of the label that the chosen answer is the better one."""
    logits, smoothing = pairs.beta * pairs.margin, params.preference.label_smoothing
    return -(1 - smoothing) * functional.logsigmoid(logits) - smoothing * functional.logsigmoid(-logits)
