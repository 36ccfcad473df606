"""Embeddings: a vector for a text, the hidden state of its last token, near to those of texts that belong to it
(--task_type embedding)."""

from typing import Any

from components.tokens import ShapeName
from components.training.job import Job

SHAPE: ShapeName = "pair"


def trainer(job: Job) -> Any:
    """Return transformers' Trainer with a loss per row of texts."""
    from components.training.methods._pair_trainer import PairTrainer

    return PairTrainer(job)
