"""Generalised knowledge distillation: the distribution of a teacher over the tokens of answers, also of those that the
model samples (Agarwal et al. 2023, arXiv 2306.13649)."""

from typing import Any

from components.tokens import ShapeName
from components.training.job import Job

SHAPE: ShapeName = "sft"


def trainer(job: Job) -> Any:
    """Return transformers' Trainer with the divergence from a teacher for each learned token."""
    from components.training.methods._distillation_trainer import DistillationTrainer

    return DistillationTrainer(job)
