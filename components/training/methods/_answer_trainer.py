"""Learning from whole answers: what the methods on preferences and on judged answers have in common."""

from typing import Any

import numpy as np
import torch

from components.tokens import IGNORED, TokenRow
from components.training.job import Job
from components.training.means import Means
from components.training.methods._row_trainer import RowTrainer
from components.training.mixture import mixture_of

LISTS = ("prompt_ids", *(f"{name}_{part}" for name in ("chosen", "rejected", "completion", "other")
                         for part in ("ids", "labels")))  # fmt: skip
"""Lists of token ids and labels of a row, of all shapes with answers."""


class FigureTrainer(RowTrainer):
    """A trainer on rows of a prompt and its answers. Figures that a subclass adds to `means` are logged beside the
    loss, and in evaluations with `eval_` before their names."""

    def __init__(self, job: Job, batch: Any) -> None:
        self.means = {True: Means(), False: Means()}
        """By whether the model is in training."""
        super().__init__(job, batch)

    def blank_row(self) -> TokenRow:
        """Return a row of which nothing is learned."""
        lists = {name: np.full(1, IGNORED if name.endswith("labels") else self.job.pad_token_id) for name in LISTS}
        return {**lists, "reference": np.zeros(4, np.float32), "label": True, "margin": 0.0}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the method's figures beside the loss."""
        if "loss" in logs:
            logs |= self.means[True].take()
        super().log(logs, start_time)

    def figures(self, rows: list[TokenRow]) -> dict[str, float]:  # noqa: ARG002
        """Return the method's figures of an evaluation."""
        return self.means[False].take("eval_")


class AnswerTrainer(FigureTrainer):
    """A loss for each row, the weighted sum of the losses of the run's mixture."""

    def __init__(self, job: Job, batch: Any) -> None:
        kind, self.weights = mixture_of(job.params, job.external)
        self.loss_methods: dict[str, Any] = {name: kind.load(name, job.external) for name in self.weights}
        super().__init__(job, batch)

    def mixed_losses(self, answers: Any) -> torch.Tensor:
        """Return the loss of each row [rows]."""
        parts = [self.weights[name] * loss.losses(answers, self.job.params) for name, loss in self.loss_methods.items()]
        return torch.stack(parts).sum(0)


def is_learned(inputs: dict[str, Any]) -> torch.Tensor:
    """Return which rows of a batch are learned [rows]: all but blank ones, which fill a batch up."""
    return inputs["labels"][:, 1] != IGNORED
