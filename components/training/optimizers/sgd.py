"""Stochastic gradient descent without momentum: it keeps no state at all."""

from typing import Any

from components.config import Params
from components.training.optimizers._groups import decay_groups

SHARDED = True


def build(model: Any, params: Params) -> Any:
    """Return PyTorch's SGD over all trainable weights."""
    from torch.optim import SGD

    return SGD(decay_groups(model, params), lr=params.train.learning_rate or 0.0)
