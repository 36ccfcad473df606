"""Classification: the class of a text, from what the model makes of its last token (--task_type seq_cls)."""

from typing import Any

from components.tokens import ShapeName
from components.training.job import Job

SHAPE: ShapeName = "classification"


def trainer(job: Job) -> Any:
    """Return transformers' Trainer with a loss per text."""
    from components.training.methods._class_trainer import ClassTrainer

    return ClassTrainer(job)
