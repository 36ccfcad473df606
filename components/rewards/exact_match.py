"""Exact match: 1 where the answer equals the reference, but for case, character width, white space and trailing
punctuation; else 0. A row without reference gets None."""

from collections.abc import Sequence

from components.config import Params
from components.rewards._sample import Sample
from components.rewards._texts import final, gold
from components.texts import normalized

COLUMNS = ("solution", "answer")


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:  # noqa: ARG001
    """Return 1 for equal answers, 0 for others, None where there is nothing to compare with."""
    return [_score(gold(sample.columns), sample.completion) for sample in samples]


def _score(reference: str, answer: str) -> float | None:
    if not reference:
        return None
    return float(normalized(reference) in (normalized(answer), normalized(final(answer))))
