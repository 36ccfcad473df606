"""The model as the training begins, as the reference model of methods that sample: no second model is held, only the
first values of the weights that learn."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch


class StartWeights:
    """The values of a model's learning weights when this is made: those of an adapter, which are few."""

    def __init__(self, model: Any) -> None:
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.values = [weight.detach().clone() for weight in self.weights]

    @contextmanager
    def applied(self) -> Generator[None]:
        """Let the model compute with these values, without a gradient."""
        now = [weight.data for weight in self.weights]
        try:
            for weight, value in zip(self.weights, self.values, strict=True):
                weight.data = value
            with torch.no_grad():
                yield
        finally:
            for weight, value in zip(self.weights, now, strict=True):
                weight.data = value
