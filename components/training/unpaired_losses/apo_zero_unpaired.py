"""Anchored preference optimisation (D'Oosterlinck et al. 2024, arXiv 2408.06266) on unpaired answers, without a KL."""

import torch
from torch import Tensor

from components.config import Params
from components.training.unpaired_losses import Judged


def losses(answers: Judged, params: Params) -> Tensor:
    """Return the loss that makes good answers likelier and bad ones less likely, weighed by the label."""
    settings = params.preference
    gains = answers.beta * torch.where(answers.is_good, answers.ratios, -answers.ratios)
    weights = torch.where(answers.is_good, settings.desirable_weight, settings.undesirable_weight)
    return weights * (1 - gains.sigmoid())
