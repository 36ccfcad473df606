"""Regex: 1 where the row's `pattern`, or else its reference, is found in the answer, else 0. A row with neither gets
None.

Patterns are Python's, and `.` matches a line break too. A pattern that takes longer than a second on an answer does
not match.
"""

from collections.abc import Sequence

from components.config import Params
from components.rewards._sample import Sample
from components.rewards._texts import final, gold

COLUMNS = ("pattern", "solution", "answer")
TIMEOUT_S = 1.0


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:  # noqa: ARG001
    """Return 1 for answers that match, 0 for others, None where there is no pattern.

    Raises:
        ValueError: a pattern is none.
    """
    return [_score(str(sample.columns.get("pattern") or gold(sample.columns)), sample.completion)
            for sample in samples]  # fmt: skip


def _score(pattern: str, answer: str) -> float | None:
    import regex  # its matches can be ended, re's cannot

    if not pattern:
        return None
    try:
        compiled = regex.compile(pattern, regex.DOTALL)
    except regex.error as error:
        raise ValueError(f"column pattern: '{pattern}' is no regular expression: {error}") from error
    try:
        return float(compiled.search(final(answer), timeout=TIMEOUT_S) is not None)
    except TimeoutError:
        return 0.0
