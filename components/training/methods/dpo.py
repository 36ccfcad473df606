"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290), with any of the losses of pairs, or several.

--loss_type sigmoid bco_pair sft --loss_weights 0.8 0.2 1 is mixed preference optimisation (MPO).
"""

from typing import Any

from components.config import Params
from components.tokens import ShapeName
from components.training.job import Job

SHAPE: ShapeName = "preference"
MIXES = True


def reference(params: Params) -> tuple[str, ...]:
    """Return the answers of which the reference model's log probabilities are needed."""
    return () if params.preference.reference_free else ("chosen", "rejected")


def losses(params: Params, named: dict[str, float]) -> dict[str, float]:
    """Return the losses that `--loss_type` names, and the chosen answer's own with the weight `rpo_alpha`."""
    if alpha := params.preference.rpo_alpha:
        return {**named, "sft": named.get("sft", 0.0) + alpha}
    return named


def trainer(job: Job) -> Any:
    """Return transformers' Trainer with a loss per pair."""
    from components.training.methods._preference_trainer import PreferenceTrainer

    return PreferenceTrainer(job, has_reference=bool(reference(job.params)))
