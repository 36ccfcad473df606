"""REINFORCE leave-one-out: the distance to the reference model is part of an answer's reward, and the other answers to
the prompt are the baseline."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from components.training import advantages
from components.training.experience import Batch
from components.training.methods._policy_trainer import PolicyTrainer
from components.training.rollouts import Judgement


class LeaveOneOutTrainer(PolicyTrainer):
    """RLOO (Ahmadian et al. 2024, arXiv 2402.14740)."""

    kl_in_reward = True

    def _totals(self, judgement: Judgement, parts: list[Batch]) -> np.ndarray:
        totals = np.asarray(judgement.totals)
        if not self.reference:
            return totals
        distances = [self._distances(self._prepare_inputs(part)) for part in parts]
        return totals - self.kl_weight * np.concatenate(distances)

    @torch.no_grad()
    def _distances(self, inputs: dict[str, Any]) -> np.ndarray:
        """Return by how much the model finds each answer likelier than the reference model does [answers], in nats."""
        model: Any = self.job.model
        was_training = model.training
        model.eval()
        scores = self._scores(model, inputs)
        model.train(was_training)
        difference = scores.log_probs - inputs["reference"].to(scores.log_probs.device)
        sums = difference.new_zeros(len(inputs["labels"])).index_add(0, scores.owners, difference)
        return sums.cpu().double().numpy()

    def _compared(self, rewards: Sequence[float], groups: Sequence[int]) -> np.ndarray:
        return advantages.leave_one_out(rewards, groups)
