"""Identity preference optimisation (Azar et al. 2023, arXiv 2310.12036), on means over tokens."""

from torch import Tensor

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return the squared distance of the margin from 1 / (2 beta), as equation 17 has it."""
    margin = pairs.chosen_score / pairs.chosen_tokens - pairs.rejected_score / pairs.rejected_tokens
    return (margin - 1 / (2 * pairs.beta)) ** 2
