"""Distillation: what a teacher finds likely at each token of an answer, of the data or sampled."""

import random
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch

from components.tokens import IGNORED, TokenRow
from components.training import ranks
from components.training.cross_entropy import cross_entropy, entropies
from components.training.distillation import agreements, divergences
from components.training.forward import learned_logits, of_model
from components.training.generating import prompt_and_answer
from components.training.isolation import collator
from components.training.job import Job
from components.training.media import own_media
from components.training.methods._answer_trainer import FigureTrainer
from components.training.methods._row_trainer import RowTrainer
from components.training.rollouts import Sampled

OF_LOSS = ("labels", "loss_scale")


class DistillationTrainer(FigureTrainer):
    """A loss for each learned token: how far the model's distribution is from the teacher's.

    In a share `lmbda` of the steps the model answers the prompts of its rows itself; in the others the answers are
    those of the data, or with `seq_kd` the teacher's. Which steps these are, and the seeds of answers, follow from the
    run's seed, the step and the row, so that a run goes on exactly.
    """

    def __init__(self, job: Job) -> None:
        self.settings, self.teacher = job.params.distillation, job.teacher
        self.collate = collator(job, job.teacher)
        self.is_own = False
        """Whether the step learns on the model's own answers."""
        super().__init__(job, list)

    def dataset(self) -> Any:
        """Return the rows with their numbers."""
        return Numbered(super().dataset())

    def blank_row(self) -> TokenRow:
        """Return a row of which nothing is learned."""
        return RowTrainer.blank_row(self)

    def batch(self, rows: list[TokenRow]) -> dict[str, torch.Tensor]:
        """Return the tensors of rows."""
        return self.collate([{name: row[name] for name in row if name != "number"} for row in rows])

    def learned(self, inputs: dict[str, Any]) -> int:
        """Return how many tokens are learned: the first of a line follows none."""
        return int((inputs["labels"][:, 1:] != IGNORED).sum())

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """Return the tensors of the forward passes of an optimizer step, and how many tokens the step learns."""
        parts = list(islice(epoch_iterator, num_batches))
        if not parts:
            return [], None
        self.is_own = _draw(f"{self.job.train.seed} {self.state.global_step}").random() < self.settings.lmbda
        self.means[True].add("on_policy", torch.tensor([float(self.is_own)]))
        if self.is_own or self.settings.seq_kd:
            parts = self._answered(parts)
        batches = [self.batch(part) for part in parts]
        total = ranks.total([sum(map(self.learned, batches))])[0]
        return batches, torch.tensor(total, device=device)

    def _answered(self, parts: list[list[TokenRow]]) -> list[list[TokenRow]]:
        """Return the rows with a sampled answer in place of their last one; rows without a prompt, or of which nothing
        is learned, stay."""
        learned = [row for part in parts for row in part if (row["labels"] != IGNORED).any()]
        prompts = {row["number"]: prompt for row in learned if (prompt := prompt_and_answer(row)[0])}
        seeds = [
            _draw(f"{self.job.train.seed} {self.state.global_step} {number}").getrandbits(62) for number in prompts
        ]
        rollouts: Any = self.job.rollouts if self.is_own else self.job.teacher_rollouts
        media = {row["number"]: own_media(row) for row in learned}
        rows = [{"prompt_ids": np.asarray(prompt), "extra": {}, **media[number]} for number, prompt in prompts.items()]
        sampled = rollouts.sample(self.job.model if self.is_own else self.teacher, rows, seeds)
        answers: dict[int, Sampled] = dict(zip(prompts, sampled, strict=True))
        means = self.means[True]
        means.add("completions/mean_length", torch.tensor([float(len(answer.ids)) for answer in sampled]))
        means.add("completions/clipped_ratio", torch.tensor([float(answer.is_truncated) for answer in sampled]))
        return [
            [
                _with_answer(row, prompts[row["number"]], answers[row["number"]]) if row["number"] in prompts else row
                for row in part
            ]
            for part in parts
        ]

    def summed_loss(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the sum of the losses of all learned tokens, and the model's outputs."""
        inputs = of_model(inputs) | {name: inputs[name] for name in OF_LOSS if name in inputs}
        logits, tokens, outputs = learned_logits(model, inputs)
        with torch.no_grad():
            of_teacher = learned_logits(self.teacher, inputs)[0]
        losses, means = divergences(logits, of_teacher, self.job.beta), self.means[model.training]
        means.add("divergence", losses)
        means.add("agreement", agreements(logits.detach(), of_teacher))
        means.add("entropy", entropies(logits))
        if self.settings.sft_alpha and not (model.training and self.is_own):
            own = cross_entropy(logits, tokens["labels"])
            means.add("nll_loss", own)
            losses = losses + self.settings.sft_alpha * own
        weights = tokens.get("loss_scale")
        return (losses if weights is None else losses * weights).sum(), outputs


def _with_answer(row: TokenRow, prompt: list[int], answer: Sampled) -> TokenRow:
    """Return a row of a prompt and a sampled answer, of which all is learned."""
    ids = np.asarray([*prompt, *answer.ids])
    labels = np.where(np.arange(len(ids)) < len(prompt), IGNORED, ids)
    weights = {"loss_scale": np.ones(len(ids))} if "loss_scale" in row else {}
    return {"input_ids": ids, "labels": labels, **weights, **own_media(row)}


def _draw(seed: str) -> random.Random:
    return random.Random(seed)


class Numbered:
    """The rows of a dataset, each with its `number`."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> TokenRow:
        return {**self.rows[index], "number": index}
