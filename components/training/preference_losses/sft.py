"""The chosen answer's own loss, which keeps it likely: in mixtures (MPO, Wang et al. 2024, arXiv 2411.10442)."""

from torch import Tensor

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return the mean negative log probability of a token of the chosen answer."""
    return pairs.nll
