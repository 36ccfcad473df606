"""Regex: 1 where the row's `pattern`, or else its reference, is found in the answer, else 0. A row with neither gets
None.

Patterns are Python's, and `.` matches a line break too. A pattern that takes longer than a second on an answer is an
error.
"""

from collections.abc import Sequence
from typing import Any

from components.config import Params
from components.rewards._sample import Sample
from components.rewards._texts import final, gold

COLUMNS = ("pattern", "solution", "answer")
TIMEOUT_S = 1.0


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:  # noqa: ARG001
    """Return 1 for answers that match, 0 for others, None where there is no pattern.

    Raises:
        ValueError: a pattern is none, or takes longer than TIMEOUT_S.
    """
    return [_score(_pattern(sample.columns), sample.completion) for sample in samples]


def check_row(columns: dict[str, Any]) -> None:
    """Raise ValueError if the pattern of a row is none."""
    _compiled(_pattern(columns))


def _pattern(columns: dict[str, Any]) -> str:
    return str(columns.get("pattern") or gold(columns))


def _compiled(pattern: str) -> Any:
    import regex  # its matches can be ended, re's cannot

    try:
        return regex.compile(pattern, regex.DOTALL)
    except regex.error as error:
        raise ValueError(f"column pattern: '{pattern}' is no regular expression: {error}") from error


def _score(pattern: str, answer: str) -> float | None:
    if not pattern:
        return None
    try:
        return float(_compiled(pattern).search(final(answer), timeout=TIMEOUT_S) is not None)
    except TimeoutError:
        raise ValueError(f"column pattern: '{pattern}' takes longer than {TIMEOUT_S:g} s on an answer") from None
