"""Next-token prediction with a loss per learnable token: what sft and pt have in common."""

import math
from numbers import Real
from typing import Any

import torch

from components.errors import ConfigError
from components.tokens import IGNORED, TokenRow
from components.training import ranks
from components.training.cross_entropy import are_likeliest
from components.training.forward import learned_logits
from components.training.generating import answers
from components.training.isolation import collator
from components.training.job import Job
from components.training.methods._row_trainer import RowTrainer
from components.training.metrics import METRICS
from components.training.mixture import one_loss


class TokenTrainer(RowTrainer):
    """A loss for each learnable token."""

    def __init__(self, job: Job) -> None:
        self.method, self.loss_name = one_loss(job.params, job.external)
        super().__init__(job, collator(job))
        self.hits = torch.zeros(2, dtype=torch.int64)
        """Of the learned tokens since the last log, how many were the likeliest ones, and how many there were."""

    def learned(self, inputs: dict[str, Any]) -> int:
        """Return how many tokens are learned: the first of a line follows none."""
        return int((inputs["labels"][:, 1:] != IGNORED).sum())

    def summed_loss(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the sum of the losses of all learnable tokens, and the model's outputs."""
        logits, tokens, outputs = learned_logits(model, inputs)
        targets = tokens["labels"]
        if self.is_in_train:  # and not where threads are measured
            hits = are_likeliest(logits.detach(), targets)
            count = torch.tensor(len(targets), device=logits.device)
            self.hits = self.hits.to(logits.device) + torch.stack([hits.sum(), count])
        return self.token_loss(logits, targets, tokens.get("loss_scale")), outputs

    def token_loss(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the sum of the losses of learned tokens; logits [tokens, vocabulary], targets and weights [tokens].

        A weight multiplies the loss of its token. The caller divides by the number of learnable tokens, as ms-swift
        does: a weight of 2 counts a token twice above the line, and once below it.

        Raises:
            ConfigError: the loss is not one number for each token, or has no gradient.
        """
        name, losses = self.loss_name, self.method.losses(logits, targets, self.job.params)
        if getattr(losses, "shape", None) != targets.shape:
            wrong = list(losses.shape) if hasattr(losses, "shape") else repr(losses)
            raise ConfigError(
                f"loss_type: {name}: `losses` returns a loss for each token, a tensor {list(targets.shape)}, not "
                f"{wrong}"
            )
        if torch.is_grad_enabled() and not losses.requires_grad:
            raise ConfigError(f"loss_type: {name}: no gradient flows from `losses` to the logits")
        return losses.sum() if weights is None else (losses * weights).sum()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the token accuracy beside the loss, as ms-swift's `token_acc`: the share of learned tokens that
        were the likeliest."""
        if name := next((name for name in ("loss", "eval_loss") if name in logs), ""):
            hits, count = ranks.total(self.hits.tolist())
            self.hits.zero_()
            logs[name.replace("loss", "token_acc")] = hits / max(count, 1)
        super().log(logs, start_time)

    def figures(self, rows: list[TokenRow]) -> dict[str, float]:
        """Return the figures of `eval_metric` for the answers to the prompts of all processes' `rows`."""
        job = self.job
        if not job.train.predict_with_generate:
            return {}
        size, length = job.train.per_device_eval_batch_size, job.params.generation.max_new_tokens
        texts, references = map(ranks.gathered, answers(self.model, job.tokenizer, rows, size, length))
        figures: dict[str, float] = {}
        for name in job.train.eval_metric:
            values = METRICS.load(name, job.external).metrics(texts, references)
            if not isinstance(values, dict) or not all(_is_number(value) for value in values.values()):
                raise ConfigError(f"eval_metric: {name}: `metrics` returns numbers by name, not {values!r}")
            figures |= {f"eval_{figure}": float(value) for figure, value in values.items()}
        return figures


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)
