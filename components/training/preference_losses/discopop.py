"""Discovered preference optimisation (Lu et al. 2024, arXiv 2406.08414): a blend of logistic and exponential loss."""

from torch import Tensor
from torch.nn import functional

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return the blend, which the margin moves by a sigmoid of the temperature `discopop_tau`, as equation 5 has it."""
    logits = pairs.beta * pairs.margin
    share = (logits / params.preference.discopop_tau).sigmoid()
    return -functional.logsigmoid(logits) * (1 - share) + (-logits).exp() * share
