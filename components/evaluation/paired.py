"""Statistics on paired scores: both models have answered the same questions, so the tests are on the difference of the
two scores of each question.

**The bound** of the mean difference is the quantile of a Bayesian bootstrap (Rubin 1981) over the observed differences
*and one additional lost question*. The additional question makes the bound valid where a plain bootstrap is not: with
nothing lost in 20 questions a bootstrap says "no loss is possible", and would promote a model that loses 5 % of all
questions in 36 % of the cases. With the additional question, the bound is Gaffke's (2005) for means of bounded values.
For a set without gained questions the bound is exactly Clopper and Pearson's (1934). Identical models, where every
difference is 0, need no special case: no lost question means "less than 5 % lost" from 59 questions on
(0.95 ** 59 < 0.05).

**Clusters.** Questions that were made from one document, or by one rule, are lost together. The bound of clustered
questions resamples clusters, of which the additional lost one is as large as the largest.

**The p-value** is that of the exact McNemar test (1947; the sign test where scores are not 0 and 1), corrected for the
number of sets by Holm (1979).
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MAX_QUESTIONS = 100_000
POWER = 0.8
"""Chance of a decision at the number of questions that a verdict asks for."""


def lower_bound(
    difference: "np.ndarray",
    confidence: float,
    resamples: int,
    scale: float = 1.0,
    clusters: "np.ndarray | None" = None,
) -> float:
    """Return the one-sided lower confidence bound of the mean difference; see the docstring of this module.

    The upper bound is `-lower_bound(-difference)`.

    Args:
        difference: differences of scores [questions], each in [-1, 1].
        scale: number of questions to assume, as a multiple of the present number in the same proportions.
        clusters: the cluster of each question [questions]; None if each question stands alone.
    """
    import numpy as np

    if clusters is not None:
        return _clustered_bound(difference, clusters, confidence, resamples, scale)
    values, counts = np.unique(difference, return_counts=True)
    generator = np.random.default_rng(0)
    lost_question = generator.gamma(1.0, size=resamples)
    weighted, total = -lost_question, lost_question
    for value, count in zip(values, counts * scale, strict=True):  # Dirichlet weights as normalised gammas
        weight = generator.gamma(count, size=resamples)
        weighted, total = weighted + value * weight, total + weight
    return float(np.quantile(weighted / total, 1 - confidence))


def _clustered_bound(
    difference: "np.ndarray", clusters: "np.ndarray", confidence: float, resamples: int, scale: float
) -> float:
    """Return `lower_bound` where questions of one cluster may be lost together: the bootstrap weighs clusters, and the
    additional lost cluster is as large as the largest."""
    import numpy as np

    _, members, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    sums = np.bincount(members, weights=difference)
    generator = np.random.default_rng(0)
    lost = generator.gamma(1.0, size=resamples) * sizes.max()
    weighted, total = -lost, lost
    for of_cluster, size in zip(sums, sizes, strict=True):
        weight = generator.gamma(scale, size=resamples)
        weighted, total = weighted + of_cluster * weight, total + size * weight
    return float(np.quantile(weighted / total, 1 - confidence))


def mcnemar(difference: "np.ndarray", scale: float = 1.0, z: float = 0.0) -> float:
    """Return the exact two-sided p-value of the hypothesis that as many questions are lost as gained, where `scale`
    times as many are, and fewer are lost by `z` standard deviations."""
    from scipy.stats import binomtest

    lost, gained = (difference < 0).sum() * scale, (difference > 0).sum() * scale
    lost, gained = round(max(0.0, lost - z * (lost + gained) ** 0.5)), round(gained)
    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """Return the p-values adjusted for the number of sets, step-down."""
    adjusted, highest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = highest
    return adjusted


def deciding_items(
    difference: "np.ndarray",
    clusters: "np.ndarray | None",
    margin: float,
    sets: int,
    confidence: float,
    resamples: int,
) -> int | None:
    """Return about how many questions would decide with a chance of POWER, if they are lost and gained in the same
    proportions; None above MAX_QUESTIONS.

    Args:
        difference, clusters: as in `lower_bound`.
        margin: the mean loss that is too much.
        sets: number of sets that the p-values are corrected for.
    """
    alpha, z = 1 - confidence, NormalDist().inv_cdf(POWER + 0.1)  # counts are coarse, and both directions vary
    spread = _spread(difference, clusters)

    def passes(scale: float) -> bool:
        bound = lower_bound(difference, confidence, resamples, scale, clusters)
        return bound - z * spread / scale**0.5 > -margin

    def fails(scale: float) -> bool:
        return mcnemar(difference, scale, z) * sets <= alpha

    return _smallest(passes if difference.mean() > -margin else fails, len(difference))


def _spread(difference: "np.ndarray", clusters: "np.ndarray | None") -> float:
    """Return the standard error of the mean difference, with one additional lost question or cluster: nothing lost so
    far does not mean that nothing can be lost."""
    import numpy as np

    members = np.arange(len(difference)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    sizes = np.append(np.bincount(members), np.bincount(members).max())
    sums = np.append(np.bincount(members, weights=difference), -sizes[-1])
    return float(((sums - difference.mean() * sizes) ** 2).sum() ** 0.5 / len(difference))


def _smallest(decides: Callable[[float], bool], items: int) -> int | None:
    high = 1.0
    while not decides(high):
        high *= 2
        if high * items > MAX_QUESTIONS:
            return None
    low = high / 2
    while (high - low) * items > 1:
        middle = (low + high) / 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return math.ceil(high * items)
