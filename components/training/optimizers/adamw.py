"""AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), by PyTorch, in one kernel where the device has it."""

from typing import Any

from components.config import Params
from components.training.optimizers._groups import decay_groups

SHARDED = True
FUSED = ("cpu", "cuda", "mps", "xpu")
"""Types of devices that have the kernel."""


def build(model: Any, params: Params) -> Any:
    """Return AdamW over all trainable weights."""
    from torch.optim import AdamW

    train = params.train
    return AdamW(
        decay_groups(model, params),
        lr=train.learning_rate or 0.0,
        betas=(train.adam_beta1, train.adam_beta2),
        eps=train.adam_epsilon,
        fused=model.device.type in FUSED,
    )
