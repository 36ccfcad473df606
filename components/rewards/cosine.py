"""Cosine: accuracy that depends on length, so that right answers are short and wrong ones try longer (Yeo et al. 2025,
"Demystifying Long Chain-of-Thought Reasoning in LLMs")."""

import math
from collections.abc import Sequence

from components.config import Params
from components.rewards import accuracy
from components.rewards._sample import Sample

COLUMNS = ("solution", "answer")


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:
    """Return what accuracy says, between its value for no length and that for the greatest length along half a wave of
    the cosine."""
    accuracies, settings = accuracy.rewards(samples, params), params.reward
    longest = settings.cosine_max_len or params.rollout.max_completion_length
    right = settings.cosine_min_len_value_correct, settings.cosine_max_len_value_correct
    wrong = settings.cosine_min_len_value_wrong, settings.cosine_max_len_value_wrong
    return [
        None if value is None else _between(*(right if value else wrong), min(sample.tokens / longest, 1.0))
        for value, sample in zip(accuracies, samples, strict=True)
    ]


def _between(start: float, end: float, way: float) -> float:
    return end + (start - end) * (1 + math.cos(way * math.pi)) / 2
