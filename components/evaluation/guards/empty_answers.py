"""The share of answers in which nothing can be seen."""

import unicodedata
from collections.abc import Sequence

from components.config.groups.gate import Gate
from components.evaluation.guards import Pair, at_most, shares
from components.evaluation.verdict import GuardVerdict


def guard(pairs: Sequence[Pair], gate: Gate) -> GuardVerdict | None:
    """Return the verdict on the share of empty answers above the baseline's."""
    share, baseline = shares(pairs, lambda record: is_blank(record["answer"]))
    return at_most("empty answers", share, baseline + gate.max_empty)


def is_blank(answer: str) -> bool:
    """Return whether an answer is white space, control and zero-width characters alone."""
    return all(character.isspace() or unicodedata.category(character) in ("Cc", "Cf") for character in answer)
