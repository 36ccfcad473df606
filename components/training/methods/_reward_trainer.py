"""Reward models, which are learned from preference pairs."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from components.tokens import IGNORED, TokenRow
from components.training.collators import Padded
from components.training.job import Job
from components.training.methods._answer_trainer import FigureTrainer, is_learned


class RewardTrainer(FigureTrainer):
    """A loss for each pair, from the rewards of its answers: the negative logarithm of the probability that the chosen
    one wins, by the margin that the row asks for (Touvron et al. 2023, arXiv 2307.09288), and with
    `center_rewards_coefficient` the square of the sum of both (Eisenstein et al. 2023, arXiv 2312.09244)."""

    def __init__(self, job: Job) -> None:
        super().__init__(job, RewardBatch(job.pad_token_id))

    def summed_loss(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the sum of the losses of the pairs of a batch, and the model's outputs."""
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False)
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
    """The tensors of pairs: `input_ids` and `attention_mask` [2 · pairs, longest], of the chosen and the rejected
    answer of one pair after the other; `margin` [pairs]; `labels` [pairs, 2], of which the second is `IGNORED` for a
    blank pair."""

    def __init__(self, pad_token_id: int) -> None:
        self.padded = Padded(pad_token_id)

    def __call__(self, rows: list[TokenRow]) -> dict[str, torch.Tensor]:
        texts = [np.concatenate([row["prompt_ids"], row[f"{n}_ids"]]) for row in rows for n in ("chosen", "rejected")]
        labels = [[IGNORED, 1 if (row["chosen_labels"] != IGNORED).any() else IGNORED] for row in rows]
        return {
            **self.padded([{"input_ids": ids} for ids in texts]),
            "labels": torch.tensor(labels),
            "margin": torch.tensor([float(row["margin"] or 0) for row in rows]),
        }
