"""Kahneman–Tversky optimisation (Ethayarajh et al. 2024, arXiv 2402.01306): single answers that are good or bad."""

from typing import Any

from components.config import Params
from components.tokens import ShapeName
from components.training.job import Job

SHAPE: ShapeName = "label"


def reference(params: Params) -> tuple[str, ...]:
    """Return the answers of which the reference model's log probabilities are needed: a row's own, and one that does
    not belong to its prompt, by which the distance of model and reference is estimated."""
    return ("completion",) if params.train.loss_type == ["apo_zero_unpaired"] else ("completion", "other")


def trainer(job: Job) -> Any:
    """Return transformers' Trainer with a loss per answer."""
    from components.training.methods._unpaired_trainer import UnpairedTrainer

    return UnpairedTrainer(job, needs_kl="other" in reference(job.params))
