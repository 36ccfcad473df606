"""Contrastive preference optimisation (Xu et al. 2024, arXiv 2401.08417): DPO without a reference model, and the chosen
answer's own loss."""

from typing import Any

from components.config import Params
from components.tokens import ShapeName
from components.training.job import Job

SHAPE: ShapeName = "preference"


def losses(params: Params, named: dict[str, float]) -> dict[str, float]:
    """Return the loss that `--loss_type` names, and the chosen answer's own with the weight `cpo_alpha`."""
    return {**named, "sft": params.preference.cpo_alpha}


def trainer(job: Job) -> Any:
    """Return transformers' Trainer with a loss per pair."""
    from components.training.methods._preference_trainer import PreferenceTrainer

    return PreferenceTrainer(job, has_reference=False)
