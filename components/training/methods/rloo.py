"""REINFORCE leave-one-out (Ahmadian et al. 2024, arXiv 2402.14740): the other answers to a prompt are the baseline, and
the distance to the reference model is part of the reward."""

from typing import Any

from components.config import Params
from components.tokens import ShapeName
from components.training.job import Job

SHAPE: ShapeName = "prompt"


def losses(params: Params, named: dict[str, float]) -> dict[str, float]:  # noqa: ARG001
    """Return RLOO's loss."""
    return {"rloo": 1.0}


def trainer(job: Job) -> Any:
    """Return transformers' Trainer on answers that the model samples."""
    from components.training.methods._leave_one_out_trainer import LeaveOneOutTrainer

    return LeaveOneOutTrainer(job)
