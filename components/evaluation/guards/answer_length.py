"""The mean length of answers in tokens, as a multiple of the baseline's."""

from collections.abc import Sequence
from statistics import fmean

from components.config.groups.gate import Gate
from components.evaluation.guards import Pair, at_most
from components.evaluation.verdict import GuardVerdict


def guard(pairs: Sequence[Pair], gate: Gate) -> GuardVerdict | None:
    """Return the verdict on the ratio of the mean lengths."""
    length, baseline = (fmean(pair[side]["answer_tokens"] for pair in pairs) for side in (0, 1))
    return at_most("answer length", length / max(baseline, 1.0), gate.max_length_ratio)
