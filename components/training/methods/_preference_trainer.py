"""Preference pairs: a chosen and a rejected answer to a prompt."""

import math
from typing import Any

import torch
from torch.nn import functional

from components.config.groups.preference import Preference
from components.training.answer_batch import AnswerBatch, AnswerLogProbs, answer_log_probs
from components.training.isolation import collator
from components.training.job import Job
from components.training.methods._answer_trainer import AnswerTrainer, is_learned
from components.training.preference_losses import Preferences

NAMES = ("chosen", "rejected")
TIE = 1e-5
"""Margin up to which two answers are as good as each other: that of one pair in batches of other lengths."""


class PreferenceTrainer(AnswerTrainer):
    """A loss for each pair, from the log probabilities of its answers by the model, and by the reference model where
    the rows have them."""

    def __init__(self, job: Job, has_reference: bool) -> None:
        self.has_reference = has_reference
        super().__init__(job, AnswerBatch(collator(job), NAMES, ("reference",) if has_reference else ()))

    def summed_loss(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the sum of the losses of the pairs of a batch, and the model's outputs."""
        log_probs, outputs = answer_log_probs(model, inputs, len(NAMES))
        reference = inputs.get("reference", torch.zeros_like(log_probs.sums).repeat(1, 2)).to(log_probs.sums)
        learned = is_learned(inputs)  # some losses sort the pairs, so blank ones go first
        log_probs = AnswerLogProbs(*(part[learned] for part in log_probs))
        pairs = preferences(log_probs, reference[learned], self.job.params.preference, self.job.beta)
        self._note(pairs, model.training)
        return self.mixed_losses(pairs).sum(), outputs

    @torch.no_grad()
    def _note(self, pairs: Preferences, is_training: bool) -> None:
        """Add TRL's figures: rewards are beta times the ratio to the reference model."""
        beta, means = pairs.beta, self.means[is_training]
        chosen, rejected = beta * pairs.chosen_ratio, beta * pairs.rejected_ratio
        figures = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/accuracies": (chosen - rejected > TIE).float(),
            "rewards/margins": chosen - rejected,
            "logps/chosen": pairs.chosen,
            "logps/rejected": pairs.rejected,
            "nll_loss": pairs.nll,
        }
        for name, values in figures.items():
            means.add(name, values)


def preferences(log_probs: AnswerLogProbs, reference: torch.Tensor, settings: Preference, beta: float) -> Preferences:
    """Return what the losses of pairs read; `reference` are the sums and tails by the reference model [pairs, 4].

    With `ld_alpha` the tokens by which an answer is longer weigh less (LD-DPO, Liu et al. 2024, arXiv 2409.06411).
    """
    tail_share = 0.0 if settings.ld_alpha is None else 1 - settings.ld_alpha
    chosen, rejected = (log_probs.sums - tail_share * log_probs.tails).unbind(1)
    ref_chosen, ref_rejected = (reference[:, :2] - tail_share * reference[:, 2:]).unbind(1)
    counts = log_probs.counts.clamp(min=1)
    return Preferences(
        chosen=chosen,
        rejected=rejected,
        ref_chosen=ref_chosen,
        ref_rejected=ref_rejected,
        chosen_score=_score(chosen - ref_chosen, settings),
        rejected_score=_score(rejected - ref_rejected, settings),
        chosen_tokens=counts[:, 0],
        rejected_tokens=counts[:, 1],
        beta=beta,
        nll=-log_probs.sums[:, 0] / counts[:, 0],
    )


def _score(ratio: torch.Tensor, settings: Preference) -> torch.Tensor:
    """Return the derivative of the divergence where the probability is exp(`ratio`) times the reference's, but for
    constants (Wang et al. 2023, arXiv 2309.16240)."""
    alpha = settings.f_alpha_divergence_coef
    match settings.f_divergence_type:
        case "forward_kl":
            return 1 - torch.exp(-ratio)
        case "js_divergence":
            return math.log(2) + functional.logsigmoid(ratio)
        case "alpha_divergence" if alpha != 1:
            return (torch.exp((alpha - 1) * ratio) - 1) / (alpha - 1)
        case _:
            return ratio
