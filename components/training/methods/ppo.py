"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347; Ziegler et al. 2019, arXiv 1909.08593): a value
head tells what reward is still to come, and so by how much each token is better than expected."""

from typing import Any

from components.config import Params
from components.tokens import ShapeName
from components.training.job import Job

SHAPE: ShapeName = "prompt"


def losses(params: Params, named: dict[str, float]) -> dict[str, float]:  # noqa: ARG001
    """Return PPO's loss."""
    return {"ppo": 1.0}


def trainer(job: Job) -> Any:
    """Return transformers' Trainer on answers that the model samples."""
    from components.training.methods._ppo_trainer import PpoTrainer

    return PpoTrainer(job)
