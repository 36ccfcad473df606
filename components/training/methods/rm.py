"""Reward models: a number for an answer, greater for the chosen one of a pair (Bradley and Terry 1952, as Ouyang et al.
2022, arXiv 2203.02155, learn it)."""

from typing import Any

from components.tokens import ShapeName
from components.training.job import Job

SHAPE: ShapeName = "preference"


def trainer(job: Job) -> Any:
    """Return transformers' Trainer with a loss per pair, on a model with a head that gives one number."""
    from components.training.methods._reward_trainer import RewardTrainer

    return RewardTrainer(job)
