"""A loss, a gradient or a weight that is no number: the step, the rows, and what to do."""

import math
from collections.abc import Iterator
from typing import Any

import torch

from components.errors import MartletError
from components.sharded import own_part
from components.training import ranks

ADVICE = "lower --learning_rate, or use --torch_dtype float32; no checkpoint is written of this step"

MOST_ROWS = 8
"""Rows that a message names."""


def check_step(trainer: Any, logs: dict[str, float]) -> None:
    """Check the loss and the norm of the gradient of the step that `logs` tells of, before a checkpoint is written.

    Raises:
        MartletError: one of them is no number; the message names the step and the rows.
    """
    for name, noun in (("loss", "loss"), ("grad_norm", "norm of the gradient")):
        # A step that overflows in float16 is skipped, and the next one scales its loss less.
        if not math.isfinite(logs.get(name, 0.0)) and not trainer.accelerator.optimizer_step_was_skipped:
            step = trainer.state.global_step
            rows = list(_rows(trainer, step))
            more = f"; and {len(rows) - MOST_ROWS} more" if len(rows) > MOST_ROWS else ""
            where = f", in {'; '.join(rows[:MOST_ROWS])}{more}" if rows else ""
            raise MartletError(f"the {noun} at step {step} is {logs[name]}{where}: {ADVICE}")


def check_weights(model: Any, step: int) -> None:
    """Check that all weights that learn are numbers.

    Raises:
        MartletError: one is not; the message names the step and the weight.
    """
    for name, weight in model.named_parameters():
        if weight.requires_grad and not torch.isfinite(own_part(weight)).all():
            raise MartletError(f"the weight {name} is no number after step {step}: {ADVICE}")


def _rows(trainer: Any, step: int) -> Iterator[str]:
    """Yield where the rows of a step come from: those of the first forward pass whose loss is no number, else all."""
    losses = list(trainer.losses)[-trainer.current_gradient_accumulation_steps :]
    broken = ranks.total([not math.isfinite(float(loss)) for loss in losses])
    items, size = trainer.items_of(step), trainer.job.train.per_device_train_batch_size * trainer.job.data_parallel_size
    if any(broken):
        first = next(number for number, count in enumerate(broken) if count)
        items = items[first * size : (first + 1) * size]
    for item in items:
        yield from trainer.job.rows.origins(item)
