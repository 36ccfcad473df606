"""Soft overlong punishment: 0 for an answer that is short enough, and in the last `--soft_cache_length` tokens before
`--soft_max_length` a straight line down to -1 (Yu et al. 2025, "DAPO: An Open-Source LLM Reinforcement Learning System
at Scale")."""

from collections.abc import Sequence

from components.config import Params
from components.errors import ConfigError
from components.rewards._sample import Sample


def check(params: Params) -> None:
    """Refuse lengths with which no answer is long enough or all are too long."""
    longest, cache = _lengths(params)
    if not cache:
        raise ConfigError("soft_cache_length: the reward soft_overlong needs it, below --soft_max_length")
    if cache >= longest:
        raise ConfigError(f"soft_cache_length: {cache} is not below --soft_max_length, which is {longest}; lower it")


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:
    """Return 0 for short answers, less for long ones, at least -1."""
    longest, cache = _lengths(params)
    return [max(-1.0, min(0.0, (longest - cache - sample.tokens) / cache)) for sample in samples]


def _lengths(params: Params) -> tuple[int, int]:
    return params.reward.soft_max_length or params.rollout.max_completion_length, params.reward.soft_cache_length or 0
