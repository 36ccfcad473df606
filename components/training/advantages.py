"""How much better an answer is than the other answers to its prompt."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

EPSILON = 1e-4
"""Added to a deviation that rewards are divided by: TRL's."""


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
