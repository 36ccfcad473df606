"""Proximal policy optimisation: each token of a sampled answer has an advantage of its own, by a value head."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.tokens import TokenRow
from components.training import ranks
from components.training.advantages import generalised, whitened
from components.training.experience import Batch
from components.training.job import Job
from components.training.methods._policy_trainer import PolicyTrainer, Scores, learned_owners
from components.training.rollouts import Judgement, Sampled
from components.training.value_head import ValueHead


class PpoTrainer(PolicyTrainer):
    """PPO as TRL 1.12 has it, but that the values come from a linear layer on the model that learns and not from a
    second model.

    The reward of a token is minus `kl_coef` times how much likelier the token is than by the reference model; the last
    token of an answer also gets the answer's reward.
    """

    kl_in_reward = True

    def __init__(self, job: Job) -> None:
        self.ppo = job.params.ppo
        self.value_head = self.head = ValueHead(job.model)
        super().__init__(job)

    def _kl_weight(self, job: Job) -> float:
        return job.params.ppo.kl_coef

    @property
    def clip_range(self) -> tuple[float, float]:
        """The ratios between which no gradient stops."""
        return 1 - self.ppo.cliprange, 1 + self.ppo.cliprange

    def _add_advantages(
        self,
        rows: list[TokenRow],  # noqa: ARG002
        answers: list[Sampled],
        judgement: Judgement,
        parts: list[Batch],
    ) -> np.ndarray:
        """Add the advantages of the tokens, and the `returns` that the values are to become; return the mean advantage
        of the tokens of each answer."""
        penalty = self.ppo.missing_eos_penalty or 0.0
        totals = torch.tensor(judgement.totals) - penalty * torch.tensor([float(a.is_truncated) for a in answers])
        owners = [learned_owners(part) for part in parts]
        sizes = [len(part["labels"]) for part in parts]
        rewards = [self._rewards(*given) for given in zip(parts, owners, totals.split(sizes), strict=True)]
        if self.ppo.whiten_rewards:
            lengths = [len(of_part) for of_part in rewards]
            rewards = list(whitened(torch.cat(rewards), keeps_mean=True).split(lengths))
        for part, own, of_part in zip(parts, owners, rewards, strict=True):
            part["advantages"] = generalised(of_part, part["values"], own, self.ppo.gamma, self.ppo.lam)
            part["returns"] = part["advantages"] + part["values"]
        flat = whitened(torch.cat([part["advantages"] for part in parts]))
        for part, of_part in zip(parts, flat.split([len(own) for own in owners]), strict=True):
            part["advantages"] = of_part
        means = [_means(part["advantages"], own, size) for part, own, size in zip(parts, owners, sizes, strict=True)]
        return torch.cat(means).double().numpy()

    def _rewards(self, part: Batch, owners: torch.Tensor, totals: torch.Tensor) -> torch.Tensor:
        """Return the reward of each token of a part [tokens], by those of its answers `totals`."""
        rewards = -self.kl_weight * (part["old"] - part["reference"]) if self.reference else 0 * part["old"]
        is_last = torch.cat([owners[1:] != owners[:-1], torch.ones(1, dtype=torch.bool)])[: len(owners)]
        return rewards + is_last * totals[owners]

    def _value_loss(self, scores: Scores, inputs: dict[str, Any]) -> torch.Tensor:
        """Return the sum of the clipped losses of the values, and note the figures of the values."""
        assert scores.values is not None
        old, returns, reach = inputs["values"], inputs["returns"], self.ppo.cliprange_value
        clipped = torch.clamp(scores.values, old - reach, old + reach)
        losses = torch.maximum((scores.values - returns).square(), (clipped - returns).square()) / 2
        self.means[True].add("value_loss", losses)
        self.means[True].add("values", scores.values)
        self.means[True].add("returns", returns)
        return self.ppo.vf_coef * losses.sum()

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train, the value head's weights with the model's."""
        with self.head.attached(self.job.model):
            return super().train(*args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the weights, and the value head beside them."""
        with self.head.detached(self.job.model):
            super().save_model(output_dir, _internal_call)
        if ranks.is_writer():
            self.head.write(Path(str(output_dir)))
        ranks.barrier()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        with self.head.detached(self.job.model):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.head.read(Path(resume_from_checkpoint))


def _means(values: torch.Tensor, owners: torch.Tensor, size: int) -> torch.Tensor:
    """Return the mean of the values of the tokens of each answer [answers]."""
    counts = torch.bincount(owners, minlength=size).clamp(min=1)
    return values.new_zeros(size).index_add(0, owners, values) / counts
