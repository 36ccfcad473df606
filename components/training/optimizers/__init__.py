"""Optimizers: one file each, named by `--optimizer` (adamw, galore, …)."""

from typing import TYPE_CHECKING, Any, Protocol

from components.config import Params
from components.plugins import Kind

if TYPE_CHECKING:
    from torch.optim import Optimizer


class OptimizerMethod(Protocol):
    """What the file of an optimizer defines. `TUNERS = ("lora",)` declares the tuners that it works with, by default
    all; `SHARDED = True` that it works on parts of weights, which processes divide (DeepSpeed, FSDP)."""

    def build(self, model: Any, params: Params) -> "Optimizer":
        """Return an optimizer of the model's trainable weights, at the learning rate of `params.train`.

        Its state must consist of tensors and numbers: a checkpoint holds nothing else.
        """
        ...


OPTIMIZERS = Kind("optimizer", "optimizer", __name__, OptimizerMethod)
