"""Binary classifier optimisation (Jung et al. 2024, arXiv 2404.04656), for pairs and without the shift."""

from torch import Tensor
from torch.nn import functional

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return the loss of telling good answers from bad ones, each by itself."""
    beta = pairs.beta
    return -functional.logsigmoid(beta * pairs.chosen_ratio) - functional.logsigmoid(-beta * pairs.rejected_ratio)
