"""Lion (Chen et al. 2023, arXiv 2302.06675), by bitsandbytes: steps along signs, and one moment for each weight."""

from typing import Any

from components.config import Params
from components.training.optimizers._groups import decay_groups

SHARDED = True


def build(model: Any, params: Params) -> Any:
    """Return Lion over all trainable weights; it wants about a tenth of AdamW's learning rate."""
    from bitsandbytes.optim import Lion

    train = params.train
    return Lion(
        decay_groups(model, params),
        lr=train.learning_rate or 0.0,
        betas=(train.adam_beta1, train.adam_beta2),
    )
