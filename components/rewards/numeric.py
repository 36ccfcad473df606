"""Numeric: 1 where the last number of the answer is the reference's, else 0.

Two numbers are equal within the row's `tolerance`, relative to the reference, by default 1e-6. Thousands may be divided
by commas, and `%` stands for itself. A row whose reference holds no number gets None.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

from components.config import Params
from components.rewards._sample import Sample
from components.rewards._texts import final, gold

COLUMNS = ("solution", "answer")
TOLERANCE = 1e-6
_NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d+)?")


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:  # noqa: ARG001
    """Return 1 for equal numbers, 0 for others, None where there is nothing to compare with.

    Raises:
        ValueError: a row's `tolerance` is no number of at least 0.
    """
    return [_score(sample) for sample in samples]


def _score(sample: Sample) -> float | None:
    expected = last_number(gold(sample.columns))
    if expected is None:
        return None
    number = last_number(final(sample.completion))
    return float(number is not None and math.isclose(number, expected, rel_tol=_tolerance(sample.columns)))


def check_row(columns: dict[str, Any]) -> None:
    """Raise ValueError if the tolerance of a row is none."""
    _tolerance(columns)


def _tolerance(columns: dict[str, Any]) -> float:
    tolerance = columns.get("tolerance", TOLERANCE)
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or tolerance < 0:
        raise ValueError(f"column tolerance: {tolerance} is no number of at least 0")
    return tolerance


def last_number(text: str) -> float | None:
    """Return the last number in a text, or None."""
    numbers = [match for match in _NUMBER.findall(text) if any(character.isdigit() for character in match)]
    return float(numbers[-1].replace(",", "").replace("−", "-")) if numbers else None
