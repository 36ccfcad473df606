"""A value head: a linear layer that tells from a model's last hidden states what reward is still to come."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

NAME = "value_head"
FILE = "value_head.safetensors"


class ValueHead(nn.Module):
    """Values [..., 1] of hidden states [..., hidden size], in float32; at first all zero.

    While the head is `attached` its weights are weights of the model, so that they are optimized, clipped and averaged
    over processes together; a saved model is without them.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(model.config.get_text_config().hidden_size, 1, device=model.device)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the values of states."""
        return self.linear(states.float())

    @contextmanager
    def attached(self, model: Any) -> Generator[None]:
        """Make the head's weights the model's."""
        model.add_module(NAME, self)
        try:
            yield
        finally:
            delattr(model, NAME)

    @contextmanager
    def detached(self, model: Any) -> Generator[None]:
        """Take the head's weights from the model for a while."""
        delattr(model, NAME)
        try:
            yield
        finally:
            model.add_module(NAME, self)

    def write(self, folder: Path) -> None:
        """Write the head beside a checkpoint's weights."""
        save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, folder / FILE)

    def read(self, folder: Path) -> None:
        """Take the weights that `write` has left in a checkpoint."""
        self.load_state_dict(load_file(folder / FILE))
