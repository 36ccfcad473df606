"""Answers that are good or bad, one by one."""

from typing import Any

import torch

from components.tokens import TokenRow
from components.training import ranks
from components.training.answer_batch import AnswerBatch, answer_log_probs
from components.training.isolation import collator
from components.training.job import Job
from components.training.methods._answer_trainer import AnswerTrainer, is_learned
from components.training.unpaired_losses import Judged

OTHER = "other_"
"""Beginning of the names of the tensors of answers that do not belong to their prompts."""


class UnpairedTrainer(AnswerTrainer):
    """A loss for each judged answer, from its log probabilities by the model and by the reference model.

    Where the loss reads the distance of the two, each prompt is also computed with an answer that does not belong to
    it. The distance is the mean of these answers' ratios in one forward pass of all processes, so the loss depends on
    the batch size.
    """

    def __init__(self, job: Job, needs_kl: bool) -> None:
        self.needs_kl = needs_kl
        super().__init__(job, JudgedBatch(job, needs_kl))

    def summed_loss(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the sum of the losses of the answers of a batch, and the model's outputs."""
        learned = is_learned(inputs)
        kl = self._kl(model, inputs)
        log_probs, outputs = answer_log_probs(model, inputs, 1)
        ratios = log_probs.sums[:, 0] - inputs["reference"][:, 0].to(log_probs.sums)
        answers = Judged(ratios, inputs["label"], kl, self.job.beta)
        losses = self.mixed_losses(answers)[learned]
        self._note(answers, learned, model.training)
        return losses.sum(), outputs

    @torch.no_grad()
    def _kl(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """Return the estimated distance of model and reference, 0 where the loss does not read it."""
        if not self.needs_kl:
            return torch.zeros((), device=inputs["input_ids"].device)
        other = {name.removeprefix(OTHER): value for name, value in inputs.items() if name.startswith(OTHER)}
        sums = answer_log_probs(model, other, 1)[0].sums[:, 0]
        ratios = (sums - inputs["reference"][:, 1].to(sums))[is_learned(inputs)]
        total, count = ranks.total([float(ratios.sum()), len(ratios)])
        return torch.tensor(max(0.0, total / max(count, 1)), device=sums.device)

    @torch.no_grad()
    def _note(self, answers: Judged, learned: torch.Tensor, is_training: bool) -> None:
        """Add TRL's figures: rewards are beta times the ratio to the reference model."""
        rewards, means = answers.beta * answers.ratios, self.means[is_training]
        means.add("rewards/chosen", rewards[learned & answers.is_good])
        means.add("rewards/rejected", rewards[learned & ~answers.is_good])
        means.add("kl", answers.kl[None])


class JudgedBatch:
    """The tensors of `AnswerBatch` for judged answers, with `reference` and `label`; with `others`, those of answers
    that do not belong to their prompts under names that begin with `OTHER`."""

    def __init__(self, job: Job, others: bool) -> None:
        collate = collator(job)
        self.own = AnswerBatch(collate, ("completion",), ("reference", "label"))
        self.other = AnswerBatch(collate, ("other",)) if others else None

    def __call__(self, rows: list[TokenRow]) -> dict[str, torch.Tensor]:
        others = self.other(rows) if self.other else {}
        return self.own(rows) | {f"{OTHER}{name}": tensor for name, tensor in others.items()}
