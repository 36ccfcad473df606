"""Kahneman–Tversky optimisation (Ethayarajh et al. 2024, arXiv 2402.01306): good and bad answers against a baseline."""

import torch
from torch import Tensor

from components.config import Params
from components.training.unpaired_losses import Judged


def losses(answers: Judged, params: Params) -> Tensor:
    """Return one minus the value of each answer, weighed by its label."""
    settings = params.preference
    gains = answers.beta * torch.where(answers.is_good, answers.ratios - answers.kl, answers.kl - answers.ratios)
    weights = torch.where(answers.is_good, settings.desirable_weight, settings.undesirable_weight)
    return weights * (1 - gains.sigmoid())
