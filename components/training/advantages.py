"""How much better an answer is than the other answers to its prompt."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from components.training import ranks

EPSILON = 1e-4
"""Added to a deviation that rewards are divided by: TRL's."""
WHITENING_EPSILON = 1e-8
"""Added to the variance that values of tokens are whitened by: TRL's."""


def of_groups(rewards: Sequence[float], groups: Sequence[int], scale: Literal["group", "batch", "none"]) -> np.ndarray:
    """Return the advantages of GRPO [answers]: rewards minus the mean of their group, divided by the deviation of the
    group, of all, or by 1 (Shao et al. 2024, arXiv 2402.03300; Liu et al. 2025, arXiv 2503.20783).

    Args:
        rewards: of all answers of a step [answers].
        groups: the prompt of each answer [answers].
    """
    values, means, deviations = _by_group(rewards, groups)
    if scale == "group":
        return (values - means) / (deviations + EPSILON)
    return (values - means) / (values.std(ddof=1) + EPSILON) if scale == "batch" else values - means


def leave_one_out(rewards: Sequence[float], groups: Sequence[int]) -> np.ndarray:
    """Return the advantages of RLOO [answers]: rewards minus the mean of the others of their group."""
    values, means, _ = _by_group(rewards, groups)
    sizes = np.bincount(groups)[np.asarray(groups)]
    return (values - means) * sizes / (sizes - 1)


def generalised(
    rewards: torch.Tensor, values: torch.Tensor, owners: torch.Tensor, gamma: float, lam: float
) -> torch.Tensor:
    """Return the advantages of GAE [tokens] (Schulman et al. 2015, arXiv 1506.02438).

    Args:
        rewards: of each token [tokens], those of an answer one after the other.
        values: reward still to come before each token [tokens].
        owners: the answer of each token [tokens].
        gamma: what a reward counts one token earlier.
        lam: how much farther rewards count than the next one.
    """
    is_last = np.append(owners[1:] != owners[:-1], True)
    following = np.where(is_last, 0.0, np.append(values[1:], 0.0))
    steps = (rewards.double().numpy() + gamma * following - values.double().numpy()).tolist()
    advantages, later = [0.0] * len(steps), 0.0
    for n in range(len(steps) - 1, -1, -1):
        later = steps[n] if is_last[n] else steps[n] + gamma * lam * later
        advantages[n] = later
    return torch.tensor(advantages, dtype=torch.float32)


def whitened(values: torch.Tensor, keeps_mean: bool = False) -> torch.Tensor:
    """Return the values [tokens] divided by the deviation of those of all processes, their mean taken away or not."""
    count, total, squares = ranks.total(
        [len(values), float(values.double().sum()), float(values.double().square().sum())]
    )
    if not count:
        return values
    mean = total / count
    variance = max(squares - count * mean * mean, 0.0) / max(count - 1, 1)
    scaled = (values - mean) / math.sqrt(variance + WHITENING_EPSILON)
    return scaled + mean if keeps_mean else scaled


def equal_groups(rewards: Sequence[float], groups: Sequence[int]) -> float:
    """Return the share of groups whose answers have equal rewards, and so no gradient."""
    deviations, numbers = _by_group(rewards, groups)[2], np.asarray(groups)
    return float(np.mean([deviations[numbers == group][0] < EPSILON for group in set(groups)]))


def _by_group(rewards: Sequence[float], groups: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rewards, and of each answer the mean and the deviation of its group."""
    values, numbers = np.asarray(rewards, np.float64), np.asarray(groups)
    means, deviations = np.zeros(len(values)), np.zeros(len(values))
    for group in set(groups):
        own = values[numbers == group]
        means[numbers == group], deviations[numbers == group] = own.mean(), own.std(ddof=1)
    return values, means, deviations
