"""Next-token prediction with a loss per learnable token: what sft and pt have in common."""

import inspect
import math
from numbers import Real
from typing import Any

import torch
from torch.utils.data import SequentialSampler
from transformers import TrainingArguments
from transformers.trainer import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from components.errors import ConfigError
from components.tokens import IGNORED, TokenRow
from components.training import ranks
from components.training.arguments import training_arguments
from components.training.cross_entropy import are_likeliest
from components.training.datasets import Filled, Shuffled
from components.training.generating import answers
from components.training.isolation import collator
from components.training.job import Job, transformers_model
from components.training.losses import LOSSES
from components.training.metrics import METRICS
from components.training.stream import Stream
from components.training.trainer import JobTrainer


class TokenTrainer(JobTrainer, Trainer):
    """Losses are sums over learnable tokens, divided by how many there are: in an optimizer step over all processes,
    and in an evaluation."""

    loss_is_scaled_for_ga = True

    def __init__(self, job: Job) -> None:
        rows = job.rows if ranks.world_size() == 1 else Filled(job.rows, job.pad_token_id)
        self.method: Any = LOSSES.load(job.train.loss_type, job.external)
        super().__init__(
            job,
            args=TrainingArguments(**training_arguments(job)),
            data_collator=collator(job),
            train_dataset=rows,
            eval_dataset=job.val_rows,
            processing_class=job.tokenizer,
            compute_loss_func=self.token_loss,  # the trainer then counts the learnable tokens of a step
        )
        self.current_gradient_accumulation_steps = 1  # until a step begins: passes are timed before
        self.keeps_logits = keeps_logits(job.model)
        self.hits = torch.zeros(2, dtype=torch.int64)
        """Of the learned tokens since the last log, how many were the likeliest ones, and how many there were."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss of one forward pass, a share of the loss of the step."""
        loss, outputs = self._summed_loss(model, inputs)
        # A step in which nothing is learned has a loss of zero rather than 0 / 0.
        loss = loss / torch.as_tensor(num_items_in_batch).clamp(min=1) * ranks.world_size()
        share = 1 / self.current_gradient_accumulation_steps
        if (balance := outputs.get("aux_loss")) is not None:  # mixtures of experts, where their config asks for it
            loss = loss + share * transformers_model(self.job.model).config.router_aux_loss_coef * balance
        if self.job.penalty:
            loss = loss + share * self.job.penalty(self.job.model)
        return (loss, outputs) if return_outputs else loss

    def _summed_loss(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
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
            logits = outputs["logits"][:, :-1]
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
        name, losses = self.job.train.loss_type, self.method.losses(logits, targets, self.job.params)
        if losses.shape != targets.shape:
            raise ConfigError(
                f"loss_type: {name}: `losses` returns a loss for each token, a tensor {list(targets.shape)}, not "
                f"{list(losses.shape)}"
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

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:  # noqa: ARG002
        job = self.job
        if isinstance(job.rows, Stream):
            return SequentialSampler(job.rows)
        multiple = 1 if ranks.world_size() == 1 else job.train.per_device_train_batch_size * ranks.world_size()
        if job.train.group_by_length:
            return GroupedByLength(job.rows.lengths.tolist(), job.items_per_step, job.train.seed, multiple)
        return Shuffled(len(job.rows), job.train.seed, multiple)

    def items_of(self, step: int) -> list[int]:
        """Return the numbers of the rows, packs or streamed items that a step learns from."""
        job, size = self.job, self.job.items_per_step
        if isinstance(job.rows, Stream):
            return list(range((step - 1) * size, step * size))
        sampler = self._get_train_sampler()
        epoch, place = divmod(step - 1, math.ceil(len(sampler) / size))
        sampler.set_epoch(epoch)
        items = list(sampler)[place * size : (place + 1) * size]
        return [item for item in items if item < len(job.rows)]  # without blank ones

    @torch.no_grad()
    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:  # noqa: ARG002
        """Return the mean loss per learnable token of the validation rows, of all and of each dataset among them, and
        the metrics of the answers to their prompts; each process takes its share of the rows."""
        model: Any = self.model
        model.eval()
        rows, sources = self.job.val_rows, self.job.val_rows.sources()
        own = range(ranks.rank(), len(rows), ranks.world_size())
        names = sorted(set(sources))
        sums = [self._evaluated([rows[i] for i in own if sources[i] == name]) for name in names]
        totals = ranks.total([figure for pair in sums for figure in pair])
        losses, counts = totals[::2], totals[1::2]
        metrics = {"eval_loss": sum(losses) / max(sum(counts), 1)}
        if len(names) > 1:
            metrics |= {
                f"eval_loss_{name}": loss / max(count, 1)
                for name, loss, count in zip(names, losses, counts, strict=True)
            }
        if self.job.train.predict_with_generate:
            metrics |= self._answered([rows[i] for i in own])
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _evaluated(self, rows: list[TokenRow]) -> tuple[float, int]:
        """Return the sum of the losses of the learnable tokens of `rows`, and how many there are."""
        loss, count, size = 0.0, 0, self.job.train.per_device_eval_batch_size
        for start in range(0, len(rows), size):
            inputs = self._prepare_inputs(self.data_collator(rows[start : start + size]))
            count += int((inputs["labels"][:, 1:] != IGNORED).sum())
            loss += float(self._summed_loss(self.model, inputs)[0])
        return loss, count

    def _answered(self, rows: list[TokenRow]) -> dict[str, float]:
        """Return the figures of `eval_metric` for the answers to the prompts of `rows`, those of all processes."""
        job = self.job
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


class GroupedByLength(LengthGroupedSampler):
    """transformers' sampler, with an order that depends on (seed, epoch) alone, so that a run can be resumed."""

    def __init__(self, lengths: list[int], batch_size: int, seed: int, multiple: int) -> None:
        self.order = torch.Generator()
        super().__init__(batch_size, lengths=lengths, generator=self.order)
        self.seed, self.blanks = seed, -len(lengths) % multiple

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order; accelerate calls this before each pass."""
        self.order.manual_seed(self.seed + epoch)

    def __len__(self) -> int:
        return len(self.lengths) + self.blanks

    def __iter__(self) -> Any:
        yield from super().__iter__()
        yield from [len(self.lengths)] * self.blanks
