"""AdamW whose moments take eight bits each (Dettmers et al. 2022, arXiv 2110.02861), by bitsandbytes."""

from typing import Any

from components.config import Params
from components.training.optimizers._groups import decay_groups


def build(model: Any, params: Params) -> Any:
    """Return AdamW in blocks of 256 numbers over all trainable weights; weights of fewer than 4096 numbers keep
    moments of 32 bits."""
    from bitsandbytes.optim import AdamW8bit

    train = params.train
    return AdamW8bit(
        decay_groups(model, params),
        lr=train.learning_rate or 0.0,
        betas=(train.adam_beta1, train.adam_beta2),
        eps=train.adam_epsilon,
    )
