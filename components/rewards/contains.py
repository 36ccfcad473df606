"""Contains: 1 where the reference stands in the answer as whole words, but for case, character width and white space;
else 0. A row without reference gets None."""

import re
from collections.abc import Sequence

from components.config import Params
from components.rewards._sample import Sample
from components.rewards._texts import final, gold
from components.texts import normalized

COLUMNS = ("solution", "answer")


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:  # noqa: ARG001
    """Return 1 for answers that hold the reference, 0 for others, None where there is nothing to compare with."""
    return [_score(normalized(gold(sample.columns)), normalized(final(sample.completion))) for sample in samples]


def _score(reference: str, answer: str) -> float | None:
    if not reference:
        return None
    whole = (
        rf"(?<!\w){re.escape(reference)}(?!\w)"  # ASCII: scripts that are written without spaces have no whole words
    )
    return float(re.search(whole, answer, re.ASCII) is not None)
