"""The median seconds to a whole answer, as a multiple of the baseline's. Off unless `max_latency_ratio` is set: the two
models may have been measured on different days."""

from collections.abc import Sequence
from statistics import median

from components.config.groups.gate import Gate
from components.evaluation.guards import Pair, at_most
from components.evaluation.verdict import GuardVerdict


def guard(pairs: Sequence[Pair], gate: Gate) -> GuardVerdict | None:
    """Return the verdict on the ratio of the median latencies, or None without a limit or without latencies."""
    measured = [pair for pair in pairs if all("latency_s" in record for record in pair)]
    if gate.max_latency_ratio is None or not measured:
        return None
    latency, baseline = (median(pair[side]["latency_s"] for pair in measured) for side in (0, 1))
    return at_most("latency", latency / max(baseline, 1e-6), gate.max_latency_ratio)
