"""The promotion gate: statistics on paired answers that decide whether a candidate may replace a baseline.

Both models have answered the same questions, so the test is on the difference of the two scores of each question.

**Passing a set** is non-inferiority: the lower confidence bound of the mean difference lies above minus the margin. The
bound is the quantile of a Bayesian bootstrap (Rubin 1981) over the observed differences *and one additional lost
question*. The additional question makes the bound valid where a plain bootstrap is not: with nothing lost in 20
questions a bootstrap says "no loss is possible", and would promote a model that loses 5 % of all questions in 36 % of
the cases. With the additional question, the bound is Gaffke's (2005) for means of bounded values. For a set without
gained questions the bound is exactly Clopper and Pearson's (1934). Identical models, where every difference is 0, need
no special case: no lost question means "less than 5 % lost" from 59 questions on (0.95 ** 59 < 0.05).

A candidate is promoted only when *every* set passes. The chance to promote one that loses the margin or more on some
set is then at most 1 - confidence, however many sets there are (the intersection-union test, Berger 1982), so passing
needs no correction. **Failing** needs a correction: one set is enough to refuse, and each further set is another
chance to refuse a good candidate. A set fails when the candidate is worse by at least the margin *and* significantly
worse by the exact McNemar test (1947; the sign test where scores are not 0 and 1), corrected over the sets by Holm
(1979).

**Clusters.** Questions that were made from one document, or by one rule, are lost together. With `cluster_by` the bound
resamples clusters of questions, of which the additional lost one is as large as the largest.

Otherwise there is not enough evidence, and the verdict says how many questions would decide.

**Gaining** is asked of the first champion, whose baseline is its own base model: not to be worse would let a useless
model in. On one set at least the lower bound must lie above 0, at a confidence corrected for the number of sets
(Bonferroni); or the bound of the accuracy itself must reach `min_accuracy` on every set.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING, Any

from components.config.groups.gate import Gate
from components.errors import ConfigError, MartletError, did_you_mean
from components.evaluation import guards
from components.evaluation.guards import Pair
from components.evaluation.verdict import GuardVerdict, SetVerdict, Verdict

if TYPE_CHECKING:
    import numpy as np

Records = Iterable[dict[str, Any]]
MAX_QUESTIONS = 100_000
POWER = 0.8
"""Chance of a decision at the number of questions that a verdict asks for."""


def decide(
    candidate: Records,
    baseline: Records,
    gate: Gate,
    names: tuple[str, str] = ("candidate", "baseline"),
    must_gain: bool = False,
    findings: Sequence[GuardVerdict] = (),
    external: Sequence[Path] = (),
) -> Verdict:
    """Return the verdict on two models by their answers to the same questions.

    Args:
        candidate, baseline: records as `ask` returns them, with a score in [0, 1] for every question.
        gate: margin, confidence and the limits of the guards.
        names: names of candidate and baseline in the verdict.
        must_gain: also ask for evidence that the candidate is better, or good enough.
        findings: verdicts on what is not in the answers, such as questions among the training rows.
        external: files of the user's guards.

    Raises:
        ConfigError: a margin is of no set.
        MartletError: the two did not answer the same questions, a question has two answers, or a score is not a
            number in [0, 1].
    """
    pairs = _paired(list(candidate), list(baseline))
    if unknown := [name for name in gate.margins if pairs and name not in pairs]:
        raise ConfigError(f"gate.margins: there is no question set '{unknown[0]}'{did_you_mean(unknown[0], [*pairs])}")
    if not pairs:
        return Verdict("not enough evidence", "no question was asked", names, gate.margin, gate.confidence, (), ())
    p_values = _holm({name: _mcnemar(differences(of_set)) for name, of_set in pairs.items()})
    sets = tuple(_judge(name, of_set, p_values[name], len(pairs), gate) for name, of_set in pairs.items())
    limits = (*findings, *guards.verdicts([pair for of_set in pairs.values() for pair in of_set], gate, external))
    decision, reason = _overall(sets, limits)
    if must_gain and decision == "promote":
        decision, reason = _gain(pairs, gate, names[1])
    return Verdict(decision, reason, names, gate.margin, gate.confidence, sets, limits)


def _paired(candidate: list[dict[str, Any]], baseline: list[dict[str, Any]]) -> dict[str, list[Pair]]:
    """Return (candidate's record, baseline's record) of each question by set, in the candidate's order."""
    candidate_records, baseline_records = _by_question(candidate), _by_question(baseline)
    different = {
        key[0]
        for key in candidate_records.keys() | baseline_records.keys()
        if _question(candidate_records.get(key)) != _question(baseline_records.get(key))
    }
    if different:
        raise MartletError(
            f"the two models were asked different questions in {', '.join(sorted(different))}:"
            " a comparison needs the same ones; evaluate both on the sets as they are now"
        )
    for record in [*candidate, *baseline]:
        if not 0 <= record["score"] <= 1:  # also true of nan
            raise MartletError(f"set '{record['set']}', item {record['item']}: {record['score']} is no score in [0, 1]")
    pairs: dict[str, list[Pair]] = {}
    for key, record in candidate_records.items():
        pairs.setdefault(key[0], []).append((record, baseline_records[key]))
    return pairs


def _by_question(records: list[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the records by set and item."""
    by_question: dict[tuple[str, int], dict[str, Any]] = {}
    for record in records:
        if by_question.setdefault((record["set"], record["item"]), record) is not record:
            raise MartletError(
                f"set '{record['set']}', item {record['item']}: two answers to one question; evaluate the model again"
            )
    return by_question


def _question(record: dict[str, Any] | None) -> tuple[str, str, str] | None:
    return (record["query"], record["reference"], record.get("history", "")) if record else None


def differences(pairs: list[Pair]) -> "np.ndarray":
    """Return the candidate's score minus the baseline's [questions], each in [-1, 1]."""
    import numpy as np

    return np.array([candidate["score"] - baseline["score"] for candidate, baseline in pairs])


def lower_bound(
    difference: "np.ndarray",
    confidence: float,
    resamples: int,
    scale: float = 1.0,
    clusters: "np.ndarray | None" = None,
) -> float:
    """Return the one-sided lower confidence bound of the mean difference; see the module's docstring.

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


def clusters_of(pairs: list[Pair], gate: Gate) -> "np.ndarray | None":
    """Return the cluster of each question by the column `cluster_by`, or None if questions stand alone. A question
    without that column is a cluster of its own."""
    import numpy as np

    if gate.cluster_by is None:
        return None
    return np.array([str(record.get(gate.cluster_by, f"question {n}")) for n, (record, _) in enumerate(pairs)])


def _mcnemar(difference: "np.ndarray", scale: float = 1.0, z: float = 0.0) -> float:
    """Return the exact two-sided p-value of the hypothesis that as many questions are lost as gained, where `scale`
    times as many are, and fewer are lost by `z` standard deviations."""
    from scipy.stats import binomtest

    lost, gained = (difference < 0).sum() * scale, (difference > 0).sum() * scale
    lost, gained = round(max(0.0, lost - z * (lost + gained) ** 0.5)), round(gained)
    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0


def _holm(p_values: dict[str, float]) -> dict[str, float]:
    """Return the p-values adjusted for the number of sets, step-down."""
    adjusted, highest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = highest
    return adjusted


def _judge(name: str, pairs: list[Pair], p_value: float, sets: int, gate: Gate) -> SetVerdict:
    difference, clusters, margin = differences(pairs), clusters_of(pairs, gate), margin_of(name, gate)
    items, mean = len(pairs), float(difference.mean())
    low = lower_bound(difference, gate.confidence, gate.resamples, clusters=clusters)
    high = -lower_bound(-difference, gate.confidence, gate.resamples, clusters=clusters)
    suffices = None
    if items >= gate.min_items and low > -margin:
        decision = "pass"
    elif items >= gate.min_items and mean <= -margin and p_value <= 1 - gate.confidence:
        decision = "fail"
    else:
        decision = "not enough evidence"
        suffices = _deciding_items(difference, clusters, margin, sets, gate)
    return SetVerdict(
        name=name,
        decision=decision,
        items=items,
        candidate=round(fmean(candidate["score"] for candidate, _ in pairs), 6),
        baseline=round(fmean(baseline["score"] for _, baseline in pairs), 6),
        difference=round(mean, 6),
        low=round(low, 6),
        high=round(high, 6),
        lost=int((difference < 0).sum()),
        gained=int((difference > 0).sum()),
        p_value=round(p_value, 6),
        suffices=suffices,
    )


def margin_of(name: str, gate: Gate) -> float:
    """Return the share of accuracy that may be lost on a set."""
    return gate.margins.get(name, gate.margin)


def _deciding_items(
    difference: "np.ndarray", clusters: "np.ndarray | None", margin: float, sets: int, gate: Gate
) -> int | None:
    """Return about how many questions would decide with a chance of POWER, if they are lost and gained in the same
    proportions; None above MAX_QUESTIONS."""
    alpha, z = 1 - gate.confidence, NormalDist().inv_cdf(POWER + 0.1)  # counts are coarse, and both directions vary
    spread = _spread(difference, clusters)

    def passes(scale: float) -> bool:
        bound = lower_bound(difference, gate.confidence, gate.resamples, scale, clusters)
        return bound - z * spread / scale**0.5 > -margin

    def fails(scale: float) -> bool:
        return _mcnemar(difference, scale, z) * sets <= alpha

    needed = _smallest(passes if difference.mean() > -margin else fails, len(difference))
    return needed and max(needed, gate.min_items)


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


def _gain(pairs: dict[str, list[Pair]], gate: Gate, baseline: str) -> tuple[Any, str]:
    """Return the decision on a candidate that has lost nothing and must show that it is better, or good enough."""
    confidence = 1 - (1 - gate.confidence) / len(pairs)
    for name, of_set in pairs.items():
        low = lower_bound(differences(of_set), confidence, gate.resamples, clusters=clusters_of(of_set, gate))
        if len(of_set) >= gate.min_items and low > 0:
            return "promote", f"better than {baseline} on {name}, by at least {100 * low:.1f} points"
    lowest = min(_lowest_accuracy(of_set, gate) for of_set in pairs.values())
    if gate.min_accuracy is not None and lowest >= gate.min_accuracy:
        return "promote", f"as good as {baseline}, and right in at least {lowest:.1%} of every set"
    return "not enough evidence", (
        f"no evidence that it is better than {baseline}: on no set does the interval lie above 0 (to promote a model "
        f"that is as good, set gate.min_accuracy; the accuracy here is at least {lowest:.1%} on every set)"
    )


def _lowest_accuracy(pairs: list[Pair], gate: Gate) -> float:
    """Return the lower confidence bound of the candidate's accuracy on a set, in [0, 1]."""
    import numpy as np

    scores = np.array([candidate["score"] for candidate, _ in pairs])
    bound = lower_bound(2 * scores - 1, gate.confidence, gate.resamples, clusters=clusters_of(pairs, gate))
    return max(0.0, (bound + 1) / 2)


def _overall(sets: tuple[SetVerdict, ...], limits: tuple[GuardVerdict, ...]) -> tuple[Any, str]:
    failures = [s.reason for s in sets if s.decision == "fail"] + [limit.reason for limit in limits if not limit.passed]
    if failures:
        return "refuse", "; ".join(failures)
    doubts = [s.reason for s in sets if s.decision == "not enough evidence"]
    if doubts:
        return "not enough evidence", "; ".join(doubts)
    return "promote", f"no set lost more than the margin, and {len(limits)} guards hold"
