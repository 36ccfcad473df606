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

Otherwise there is not enough evidence, and the verdict says how many questions would decide.

**Gaining** is asked of the first champion, whose baseline is its own base model: not to be worse would let a useless
model in. On one set at least the lower bound must lie above 0, at a confidence corrected for the number of sets
(Bonferroni); or the bound of the accuracy itself must reach `min_accuracy` on every set.
"""

import math
import unicodedata
from collections.abc import Callable, Iterable
from statistics import fmean
from typing import TYPE_CHECKING, Any

from components.config.groups.gate import Gate
from components.errors import MartletError
from components.evaluation.verdict import GuardVerdict, SetVerdict, Verdict

if TYPE_CHECKING:
    import numpy as np

Records = Iterable[dict[str, Any]]
MAX_QUESTIONS = 100_000


def decide(
    candidate: Records,
    baseline: Records,
    gate: Gate,
    names: tuple[str, str] = ("candidate", "baseline"),
    must_gain: bool = False,
) -> Verdict:
    """Return the verdict on two models by their answers to the same questions.

    Args:
        candidate, baseline: records as `ask` returns them, with a score in [0, 1] for every question.
        gate: margin, confidence and the limits of the guards.
        names: names of candidate and baseline in the verdict.
        must_gain: also ask for evidence that the candidate is better, or good enough.

    Raises:
        MartletError: the two did not answer the same questions, a question has two answers, or a score is not a
            number in [0, 1].
    """
    pairs = _paired(list(candidate), list(baseline))
    if not pairs:
        return Verdict("not enough evidence", "no question was asked", names, gate.margin, gate.confidence, (), ())
    p_values = _holm({name: _mcnemar(differences(of_set)) for name, of_set in pairs.items()})
    sets = tuple(_judge(name, of_set, p_values[name], len(pairs), gate) for name, of_set in pairs.items())
    guards = _guards([pair for of_set in pairs.values() for pair in of_set], gate)
    decision, reason = _overall(sets, guards)
    if must_gain and decision == "promote":
        decision, reason = _gain(pairs, gate, names[1])
    return Verdict(decision, reason, names, gate.margin, gate.confidence, sets, guards)


Pair = tuple[dict[str, Any], dict[str, Any]]


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


def _question(record: dict[str, Any] | None) -> tuple[str, str] | None:
    return (record["query"], record["reference"]) if record else None


def differences(pairs: list[Pair]) -> "np.ndarray":
    """Return the candidate's score minus the baseline's [questions], each in [-1, 1]."""
    import numpy as np

    return np.array([candidate["score"] - baseline["score"] for candidate, baseline in pairs])


def lower_bound(difference: "np.ndarray", confidence: float, resamples: int, scale: float = 1.0) -> float:
    """Return the one-sided lower confidence bound of the mean difference; see the module's docstring.

    The upper bound is `-lower_bound(-difference)`.

    Args:
        difference: differences of scores [questions], each in [-1, 1].
        scale: number of questions to assume, as a multiple of the present number in the same proportions.
    """
    import numpy as np

    values, counts = np.unique(difference, return_counts=True)
    generator = np.random.default_rng(0)
    lost_question = generator.gamma(1.0, size=resamples)
    weighted, total = -lost_question, lost_question
    for value, count in zip(values, counts * scale, strict=True):  # Dirichlet weights as normalised gammas
        weight = generator.gamma(count, size=resamples)
        weighted, total = weighted + value * weight, total + weight
    return float(np.quantile(weighted / total, 1 - confidence))


def _mcnemar(difference: "np.ndarray", scale: float = 1.0) -> float:
    """Return the exact two-sided p-value of the hypothesis that as many questions are lost as gained."""
    from scipy.stats import binomtest

    lost, gained = round((difference < 0).sum() * scale), round((difference > 0).sum() * scale)
    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0


def _holm(p_values: dict[str, float]) -> dict[str, float]:
    """Return the p-values adjusted for the number of sets, step-down."""
    adjusted, highest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = highest
    return adjusted


def _judge(name: str, pairs: list[Pair], p_value: float, sets: int, gate: Gate) -> SetVerdict:
    difference = differences(pairs)
    items, mean = len(pairs), float(difference.mean())
    low = lower_bound(difference, gate.confidence, gate.resamples)
    high = -lower_bound(-difference, gate.confidence, gate.resamples)
    suffices = None
    if items >= gate.min_items and low > -gate.margin:
        decision = "pass"
    elif items >= gate.min_items and mean <= -gate.margin and p_value <= 1 - gate.confidence:
        decision = "fail"
    else:
        decision = "not enough evidence"
        suffices = _deciding_items(difference, sets, gate)
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


def _deciding_items(difference: "np.ndarray", sets: int, gate: Gate) -> int | None:
    """Return about how many questions would decide in the same proportions, or None above MAX_QUESTIONS."""
    alpha = 1 - gate.confidence

    def passes(scale: float) -> bool:
        return lower_bound(difference, gate.confidence, gate.resamples, scale) > -gate.margin

    def fails(scale: float) -> bool:
        return _mcnemar(difference, scale) * sets <= alpha

    needed = _smallest(passes if difference.mean() > -gate.margin else fails, len(difference))
    return needed and max(needed, gate.min_items)


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
        low = lower_bound(differences(of_set), confidence, gate.resamples)
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
    return max(0.0, (lower_bound(2 * scores - 1, gate.confidence, gate.resamples) + 1) / 2)


def _guards(pairs: list[Pair], gate: Gate) -> tuple[GuardVerdict, ...]:
    """Return the guards on what a score does not measure: the length of answers, and empty answers."""
    length, baseline_length = (fmean(pair[side]["answer_tokens"] for pair in pairs) for side in (0, 1))
    empty, baseline_empty = (fmean(_is_blank(pair[side]["answer"]) for pair in pairs) for side in (0, 1))
    ratio = length / max(baseline_length, 1.0)
    max_empty = baseline_empty + gate.max_empty
    return (
        GuardVerdict("answer length", ratio <= gate.max_length_ratio, round(ratio, 6), gate.max_length_ratio),
        GuardVerdict("empty answers", empty <= max_empty, round(empty, 6), round(max_empty, 6)),
    )


def _is_blank(answer: str) -> bool:
    """Return whether nothing of an answer can be seen: white space, control and zero-width characters alone."""
    return all(character.isspace() or unicodedata.category(character) in ("Cc", "Cf") for character in answer)


def _overall(sets: tuple[SetVerdict, ...], guards: tuple[GuardVerdict, ...]) -> tuple[Any, str]:
    failures = [s.reason for s in sets if s.decision == "fail"] + [g.reason for g in guards if not g.passed]
    if failures:
        return "refuse", "; ".join(failures)
    doubts = [s.reason for s in sets if s.decision == "not enough evidence"]
    if doubts:
        return "not enough evidence", "; ".join(doubts)
    return "promote", f"no set lost more than the margin, and {len(guards)} guards hold"
