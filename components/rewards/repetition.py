"""Repetition: from 0 where no n-gram of words comes twice to `--repetition_max_penalty` (Yeo et al. 2025, "Demystifying
Long Chain-of-Thought Reasoning in LLMs")."""

import re
from collections.abc import Sequence

from components.config import Params
from components.rewards._sample import Sample

_EAST_ASIAN = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_EAST_ASIAN}]|[^\s{_EAST_ASIAN}]+")
"""A word ends at a space; each character of a script without spaces is one."""


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:
    """Return the share of n-grams that were there before, times the penalty."""
    size, penalty = params.reward.repetition_n_grams, params.reward.repetition_max_penalty
    return [penalty * _repeated(_WORD.findall(sample.completion.lower()), size) for sample in samples]


def _repeated(words: list[str], size: int) -> float:
    pieces = [tuple(words[n : n + size]) for n in range(len(words) - size + 1)]
    return 1 - len(set(pieces)) / len(pieces) if pieces else 0.0
