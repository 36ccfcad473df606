"""Next-token prediction with a loss per learnable token: what sft and pt have in common."""

import inspect
import math
from numbers import Real
from typing import Any

import torch

from components.errors import ConfigError
from components.tokens import IGNORED, TokenRow
from components.training import ranks
from components.training.cross_entropy import are_likeliest
from components.training.generating import answers
from components.training.isolation import collator
from components.training.job import Job, loss_of, transformers_model
from components.training.methods._row_trainer import RowTrainer
from components.training.metrics import METRICS


class TokenTrainer(RowTrainer):
    """A loss for each learnable token."""

    def __init__(self, job: Job) -> None:
        kind, self.loss_name = loss_of(job.params)
        self.method: Any = kind.load(self.loss_name, job.external)
        super().__init__(job, collator(job))
        self.keeps_logits = keeps_logits(job.model)
        self.hits = torch.zeros(2, dtype=torch.int64)
        """Of the learned tokens since the last log, how many were the likeliest ones, and how many there were."""

    def learned(self, inputs: dict[str, Any]) -> int:
        """Return how many tokens are learned: the first of a line follows none."""
        return int((inputs["labels"][:, 1:] != IGNORED).sum())

    def summed_loss(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the sum of the losses of all learnable tokens, and the model's outputs.

        Logits are computed only at positions where, on some line, the next token is learned.
        """
        inputs = dict(inputs)
        targets, weights = inputs.pop("labels")[:, 1:], inputs.pop("loss_scale", None)
        weights = None if weights is None else weights[:, 1:]
        if "position_ids" in inputs:
            # Restarting positions isolate documents only without a mask, and without a cache.
            del inputs["attention_mask"]
        learned = targets != IGNORED
        if self.keeps_logits:
            positions = learned.any(0).nonzero()[:, 0]
            targets, learned = targets[:, positions], learned[:, positions]
            weights = None if weights is None else weights[:, positions]
            outputs = model(**inputs, use_cache=False, logits_to_keep=positions)
            logits = outputs["logits"]
        else:
            outputs = model(**inputs, use_cache=False)
            logits = outputs["logits"][:, : targets.shape[1]]
        # Of a single line, what was kept is what is learned; the selection would copy it.
        logits = logits[0] if self.keeps_logits and len(logits) == 1 else logits[learned]
        targets, weights = targets[learned], None if weights is None else weights[learned]
        if self.is_in_train:  # and not where threads are measured
            hits = are_likeliest(logits.detach(), targets)
            self.hits = self.hits.to(logits.device) + torch.stack([hits.sum(), learned.sum()])
        return self.token_loss(logits, targets, weights), outputs

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


def keeps_logits(model: Any) -> bool:
    """Return whether a model can be asked for the logits of some positions alone."""
    return "logits_to_keep" in inspect.signature(transformers_model(model).forward).parameters


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)
