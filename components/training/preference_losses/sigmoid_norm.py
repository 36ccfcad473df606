"""DPO's loss on means over tokens (Tulu 3, Lambert et al. 2024, arXiv 2411.15124)."""

from torch import Tensor
from torch.nn import functional

from components.config import Params
from components.training.preference_losses import Preferences


def losses(pairs: Preferences, params: Params) -> Tensor:
    """Return the cross entropy of the label that the chosen answer is the better one for each of its tokens."""
    margin = pairs.chosen_score / pairs.chosen_tokens - pairs.rejected_score / pairs.rejected_tokens
    return -functional.logsigmoid(pairs.beta * margin)
