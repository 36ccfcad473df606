"""Group relative policy optimisation (Shao et al. 2024, arXiv 2402.03300) and its family.

`--loss_type dapo`, `dr_grpo` and `cispo` are DAPO, Dr. GRPO and CISPO; `--importance_sampling_level sequence` is GSPO
(Zheng et al. 2025, arXiv 2507.18071).
"""

from typing import Any

from components.tokens import ShapeName
from components.training.job import Job

SHAPE: ShapeName = "prompt"


def trainer(job: Job) -> Any:
    """Return transformers' Trainer on answers that the model samples."""
    from components.training.methods._policy_trainer import PolicyTrainer

    return PolicyTrainer(job)
