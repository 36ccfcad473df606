"""Adafactor (Shazeer and Stern 2018, arXiv 1804.04235), by transformers: a row and a column of moments for a matrix."""

from typing import Any

from components.config import Params
from components.training.optimizers._groups import decay_groups


def build(model: Any, params: Params) -> Any:
    """Return Adafactor over all trainable weights, with the learning rate of the schedule and not one of its own."""
    from transformers.optimization import Adafactor

    train = params.train
    return Adafactor(
        decay_groups(model, params),
        lr=train.learning_rate or 0.0,
        scale_parameter=False,
        relative_step=False,
    )
