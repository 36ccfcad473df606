"""Training on rows that each have a loss of their own: what the methods on tokens and on classes have in common."""

import math
from typing import Any

import numpy as np
import torch
from torch.utils.data import SequentialSampler
from transformers import TrainingArguments
from transformers.trainer import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from components.by_dataset import short_names
from components.sharded import reshard
from components.tokens import IGNORED, TokenRow
from components.training import ranks
from components.training.arguments import training_arguments
from components.training.datasets import Filled, Shuffled
from components.training.job import Job, transformers_model
from components.training.sequence_parallel import Repeated
from components.training.stream import Stream
from components.training.trainer import JobTrainer


class RowTrainer(JobTrainer, Trainer):
    """Losses are sums over what is learned, divided by how much that is: in an optimizer step over all processes, and
    in an evaluation.

    A subclass defines `summed_loss`. What is learned are the elements of `labels` in a batch that are not `IGNORED`.
    """

    loss_is_scaled_for_ga = True

    def __init__(self, job: Job, collate: Any) -> None:
        self.job = job
        super().__init__(
            job,
            args=TrainingArguments(**training_arguments(job)),
            data_collator=collate,
            train_dataset=self.dataset(),
            eval_dataset=job.val_rows,
            processing_class=job.tokenizer,
            compute_loss_func=self.summed_loss,  # the trainer then counts what is learned in a step
        )
        self.current_gradient_accumulation_steps = 1  # until a step begins: passes are timed before

    def dataset(self) -> Any:
        """Return what is iterated in the order of `_order`."""
        return self.job.rows if ranks.world_size() == 1 else Filled(self.job.rows, self.blank_row())

    def blank_row(self) -> TokenRow:
        """Return a row of which nothing is learned; such rows fill a batch up."""
        row = {"input_ids": np.full(1, self.job.pad_token_id), "labels": np.full(1, IGNORED)}
        return row | ({"loss_scale": np.zeros(1)} if self.job.rows.weighted else {})

    def batch(self, rows: list[TokenRow]) -> dict[str, torch.Tensor]:
        """Return the tensors of rows."""
        return self.data_collator(rows)

    def summed_loss(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the sum of the losses of a batch, and the model's outputs."""
        raise NotImplementedError

    def learned(self, inputs: dict[str, Any]) -> int:
        """Return how many losses `summed_loss` adds up."""
        return int((inputs["labels"] != IGNORED).sum())

    @property
    def rows_per_evaluation(self) -> int:
        """Rows in a forward pass of an evaluation."""
        return self.job.train.per_device_eval_batch_size

    def figures(self, rows: list[TokenRow]) -> dict[str, float]:  # noqa: ARG002
        """Return figures of an evaluation beside the loss, `rows` being this process's share."""
        return {}

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss of one forward pass, a share of the loss of the step."""
        loss, outputs = self.summed_loss(model, inputs)
        # A step in which nothing is learned has a loss of zero rather than 0 / 0.
        loss = loss / torch.as_tensor(num_items_in_batch).clamp(min=1) * ranks.world_size()
        share = 1 / self.current_gradient_accumulation_steps
        if (balance := outputs.get("aux_loss")) is not None:  # mixtures of experts, where their config asks for it
            loss = loss + share * transformers_model(self.job.model).config.router_aux_loss_coef * balance
        if self.job.penalty:
            loss = loss + share * self.job.penalty(self.job.model)
        return (loss, outputs) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:  # noqa: ARG002
        job, order = self.job, self._order()
        parts = job.params.distributed.sequence_parallel_size
        return order if parts == 1 else Repeated(order, job.train.per_device_train_batch_size, parts)

    def _order(self) -> Any:
        """Return a sampler of the items in the order in which they are learned."""
        job = self.job
        if isinstance(job.rows, Stream):
            return SequentialSampler(job.rows)
        multiple = 1 if ranks.world_size() == 1 else job.train.per_device_train_batch_size * job.data_parallel_size
        if job.train.group_by_length:
            return GroupedByLength(job.rows.lengths.tolist(), job.items_per_step, job.train.seed, multiple)
        return Shuffled(len(job.rows), job.train.seed, multiple)

    def items_of(self, step: int) -> list[int]:
        """Return the numbers of the rows, packs or streamed items that a step learns from."""
        job, size = self.job, self.job.items_per_step
        if isinstance(job.rows, Stream):
            return list(range((step - 1) * size, step * size))
        sampler = self._order()
        epoch, place = divmod(step - 1, math.ceil(len(sampler) / size))
        sampler.set_epoch(epoch)
        items = list(sampler)[place * size : (place + 1) * size]
        return [item for item in items if item < len(job.rows)]  # without blank ones

    @torch.no_grad()
    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:  # noqa: ARG002
        """Return the mean loss of what is learned in the validation rows, of all and of each dataset among them, and
        the other `figures`; each process takes its share of the rows."""
        model: Any = self.model
        model.eval()
        rows, sources = self.job.val_rows, self.job.val_rows.sources()
        own = range(self.job.data_parallel_rank, len(rows), self.job.data_parallel_size)
        datasets = sorted(set(sources))
        sums = [self._evaluated([i for i, source in enumerate(sources) if source == name]) for name in datasets]
        totals = ranks.total([figure for pair in sums for figure in pair])
        losses, counts = totals[::2], totals[1::2]
        metrics = {"eval_loss": sum(losses) / max(sum(counts), 1)}
        if len(datasets) > 1:
            figures = zip(short_names(datasets), losses, counts, strict=True)
            metrics |= {f"eval_{name}_loss": loss / max(count, 1) for name, loss, count in figures}
        metrics |= self.figures([rows[i] for i in own])
        reshard(model)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _evaluated(self, numbers: list[int]) -> tuple[float, int]:
        """Return the sum of the losses of this process's share of the rows `numbers`, and how many losses that are.

        Processes that divide the weights, or a figure, need as many forward passes as one another: those without rows
        left take a row of which nothing is learned.
        """
        loss, count, size, groups = 0.0, 0, self.rows_per_evaluation, self.job.data_parallel_size
        own = numbers[self.job.data_parallel_rank :: groups]
        for start in range(0, math.ceil(len(numbers) / groups), size):
            rows = [self.job.val_rows[i] for i in own[start : start + size]] or [self.blank_row()]
            inputs = self._prepare_inputs(self.batch(rows))
            loss += float(self.summed_loss(self.model, inputs)[0])
            count += self.learned(inputs)
        return loss, count


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
