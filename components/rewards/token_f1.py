"""Token F1: the harmonic mean of precision and recall of the answer's words among the reference's, from 0 to 1
(Rajpurkar et al. 2016, "SQuAD"). A row without reference gets None."""

from collections import Counter
from collections.abc import Sequence

from components.config import Params
from components.rewards._sample import Sample
from components.rewards._texts import final, gold, words

COLUMNS = ("solution", "answer")


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:  # noqa: ARG001
    """Return the F1 of each answer, None where there is nothing to compare with."""
    return [_score(words(gold(sample.columns)), words(final(sample.completion))) for sample in samples]


def _score(reference: list[str], answer: list[str]) -> float | None:
    if not reference:
        return None
    common = (Counter(reference) & Counter(answer)).total()
    return 2 * common / (len(reference) + len(answer))
