"""Supervised fine-tuning: next-token prediction on what the assistant says."""

from typing import Any

from components.tokens import ShapeName
from components.training.job import Job

SHAPE: ShapeName = "sft"


def trainer(job: Job) -> Any:
    """Return transformers' Trainer with a loss per learnable token."""
    from components.training.methods._token_trainer import TokenTrainer

    return TokenTrainer(job)
