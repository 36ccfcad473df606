"""Reward models, which are learned from preference pairs."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from components.tokens import IGNORED, TokenRow
from components.training.forward import of_model
from components.training.isolation import padded
from components.training.job import Job
from components.training.media import own_media
from components.training.methods._answer_trainer import FigureTrainer, is_learned


class RewardTrainer(FigureTrainer):
    """A loss for each pair, from the rewards of its answers: the negative logarithm of the probability that the chosen
    one wins, by the margin that the row asks for (Touvron et al. 2023, arXiv 2307.09288), and with
    `center_rewards_coefficient` the square of the sum of both (Eisenstein et al. 2023, arXiv 2312.09244)."""

    def __init__(self, job: Job) -> None:
        super().__init__(job, RewardBatch(padded(job)))

    def summed_loss(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the sum of the losses of the pairs of a batch, and the model's outputs."""
        outputs = model(**of_model(inputs), use_cache=False)
        learned = is_learned(inputs)
        chosen, rejected = outputs["logits"][:, 0].float().view(-1, 2)[learned].unbind(1)
        losses = -functional.logsigmoid(chosen - rejected - inputs["margin"][learned])
        if coefficient := self.job.params.preference.center_rewards_coefficient:
            losses = losses + coefficient * (chosen + rejected) ** 2
        figures = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/accuracies": (chosen > rejected).float(),
            "rewards/margins": chosen - rejected,
        }
        for name, values in figures.items():
            self.means[model.training].add(name, values)
        return losses.sum(), outputs


class RewardBatch:
    """The tensors of pairs: those of `collate` for [2 · pairs] lines, the chosen and the rejected answer of one pair
    after the other; `margin` [pairs]; `labels` [pairs, 2], of which the second is `IGNORED` for a blank pair."""

    def __init__(self, collate: Any) -> None:
        self.collate = collate

    def __call__(self, rows: list[TokenRow]) -> dict[str, torch.Tensor]:
        lines = [
            {"input_ids": np.concatenate([row["prompt_ids"], row[f"{n}_ids"]]), **own_media(row)}
            for row in rows
            for n in ("chosen", "rejected")
        ]
        labels = [[IGNORED, 1 if (row["chosen_labels"] != IGNORED).any() else IGNORED] for row in rows]
        return {
            **self.collate(lines),
            "labels": torch.tensor(labels),
            "margin": torch.tensor([float(row["margin"] or 0) for row in rows]),
        }
