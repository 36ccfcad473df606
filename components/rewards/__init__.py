"""Rewards, which judge a model's answers: one file each, named by `--reward_funcs` (accuracy, format, code, …).

    rewards = rewards_of(params, external=[Path("mine.py")])
    scores = score(rewards, samples, params.reward.reward_timeout)
    scores.totals                     # one number for each sample
    scores.values["accuracy"]         # what this reward gave, None where it says nothing

Reinforcement learning and rejection sampling judge with the same functions.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from components.config import Params
from components.errors import ConfigError
from components.plugins import Kind
from components.rewards._sample import Reward, Sample
from components.rewards._scores import Scores, score

__all__ = ["REWARDS", "Reward", "RewardMethod", "Sample", "Scores", "columns_of", "rewards_of", "score", "weights_of"]


class RewardMethod(Protocol):
    """What the file of a reward defines.

    The file may also have `COLUMNS = ("solution", "answer")`, names of columns of which it reads the first that a row
    has, a function `check(params)` that raises a ConfigError where the reward cannot work, and for evaluations a
    function `check_row(columns)` that raises a ValueError where what a row brings cannot be judged by, such as a broken
    pattern.
    """

    def rewards(self, samples: Sequence[Sample], params: Params) -> list[float | None]:
        """Return a number for each sample, in their order, or None where this reward says nothing of one."""
        ...


REWARDS = Kind("reward", "reward_funcs", __name__, RewardMethod)


def rewards_of(params: Params, external: list[Path]) -> list[Reward]:
    """Return the rewards that `--reward_funcs` names, with their weights.

    Raises:
        ConfigError: there is no such reward, it cannot work here or with these parameters, or there are more or fewer
            weights than rewards.
    """
    rewards: list[Reward] = []
    for name, weight in zip(params.reward.reward_funcs, weights_of(params), strict=False):  # models come behind
        method: Any = REWARDS.load(name, external)
        if hasattr(method, "check"):
            method.check(params)
        rewards.append(Reward(name, weight, partial(method.rewards, params=params)))
    return rewards


def weights_of(params: Params) -> list[float]:
    """Return the weights of the functions of `--reward_funcs`, then of the models of `--reward_model`.

    Raises:
        ConfigError: there are more or fewer weights than rewards.
    """
    names, weights = [*params.reward.reward_funcs, *params.reward.reward_model], params.reward.reward_weights
    if weights and len(weights) != len(names):
        raise ConfigError(
            f"reward_weights: {len(weights)} weights for {len(names)} rewards of --reward_funcs and --reward_model; "
            "give one for each"
        )
    return weights or [1.0] * len(names)


def columns_of(params: Params, external: list[Path]) -> dict[str, tuple[str, ...]]:
    """Return by reward the columns of which it reads the first that a row has; rewards that read none are left out."""
    columns = {name: REWARDS.constant(name, "COLUMNS", (), external) for name in params.reward.reward_funcs}
    return {name: tuple(names) for name, names in columns.items() if names}
