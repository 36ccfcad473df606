"""The promotion gate: whether a candidate may replace a baseline, by their answers to the same questions.

**A set passes** if the lower bound of the mean difference of the scores lies above minus the margin (non-inferiority;
the statistics are in `paired.py`). A candidate is promoted only when *every* set passes. The chance to promote one that
loses the margin or more on some set is then at most 1 - confidence, however many sets there are (the intersection-union
test, Berger 1982), so passing needs no correction.

**A set fails** when the candidate is worse by at least the margin *and* significantly worse by the exact McNemar test.
One set is enough to refuse, and each further set is another chance to refuse a good candidate: the p-values are
corrected over the sets by Holm.

Otherwise there is not enough evidence, and the verdict says how many questions would decide.

**Gaining** is asked of the first champion, whose baseline is its own base model: not to be worse would let a useless
model in. On one set at least the lower bound must lie above 0, at a confidence corrected for the number of sets
(Bonferroni); or the bound of the accuracy itself must reach `min_accuracy` on every set.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from components.config.groups.gate import Gate
from components.errors import ConfigError, MartletError, did_you_mean
from components.evaluation import guards
from components.evaluation.guards import Pair
from components.evaluation.paired import deciding_items, holm, lower_bound, mcnemar
from components.evaluation.verdict import GuardVerdict, SetVerdict, Verdict, points

if TYPE_CHECKING:
    import numpy as np

Records = Iterable[dict[str, Any]]


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
    p_values = holm({name: mcnemar(differences(of_set)) for name, of_set in pairs.items()})
    sets = tuple(_judge(name, of_set, p_values[name], len(pairs), gate) for name, of_set in pairs.items())
    limits = (*findings, *guards.verdicts([pair for of_set in pairs.values() for pair in of_set], gate, external))
    decision, reason = _overall(sets, limits)
    if must_gain and decision == "promote":
        decision, reason = _gain(pairs, gate, names[1])
        reason = "; ".join([reason, *(_losses(sets) if decision == "promote" else [])])
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


def clusters_of(pairs: list[Pair], gate: Gate) -> "np.ndarray | None":
    """Return the cluster of each question by the column `cluster_by`, or None if questions stand alone. A question
    without that column is a cluster of its own."""
    import numpy as np

    if gate.cluster_by is None:
        return None
    return np.array([str(record.get(gate.cluster_by, f"question {n}")) for n, (record, _) in enumerate(pairs)])


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
        needed = deciding_items(difference, clusters, margin, sets, gate.confidence, gate.resamples)
        suffices = needed and max(needed, gate.min_items)
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


def _gain(pairs: dict[str, list[Pair]], gate: Gate, baseline: str) -> tuple[Any, str]:
    """Return the decision on a candidate that has lost nothing and must show that it is better, or good enough."""
    confidence = 1 - (1 - gate.confidence) / len(pairs)
    for name, of_set in pairs.items():
        low = lower_bound(differences(of_set), confidence, gate.resamples, clusters=clusters_of(of_set, gate))
        if len(of_set) >= gate.min_items and low > 0:
            corrected = f" ({confidence:.1%} confidence, corrected for {len(pairs)} sets)" if len(pairs) > 1 else ""
            return "promote", f"better than {baseline} on {name}, by at least {100 * low:.1f} points{corrected}"
    lowest = min(_lowest_accuracy(of_set, gate) for of_set in pairs.values())
    if gate.min_accuracy is not None and lowest >= gate.min_accuracy:
        return "promote", f"as good as {baseline}, and right in at least {lowest:.1%} of every set"
    return "not enough evidence", (
        f"no evidence that it is better than {baseline}: on no set does the interval lie above 0 (to promote a model "
        f"that is as good, set gate.min_accuracy; the accuracy here is at least {lowest:.1%} on every set)"
    )


def _losses(sets: tuple[SetVerdict, ...]) -> list[str]:
    """Return a clause for each set on which a candidate that passes is worse."""
    return [
        f"{s.name} {points(s.difference)} points, within the margin" for s in sets if points(s.difference)[0] == "-"
    ]


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
