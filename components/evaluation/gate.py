"""May a candidate replace the model it is compared with? Statistics on paired answers; no files, no models.

Both models have answered the same questions, so what counts is the difference of the two scores on each question.

**Passing a set** is non-inferiority: the lower confidence bound of the mean difference lies above minus the margin. The
bound is the quantile of a Bayesian bootstrap (Rubin 1981) over the observed differences *and one more question that was
lost outright*. That one question makes the bound honest where a plain bootstrap is not: with nothing lost in 20
questions a bootstrap says "no loss is possible", and would promote a model that loses 5 % of all questions in 36 % of
the cases. With it, the bound is the one of Gaffke (2005) for means of bounded values; for a set where answers are only
lost it is exactly Clopper and Pearson's (1934), and it needs no special case for identical models, where every
difference is 0: none lost means "less than 5 % lost" from 59 questions on (0.95 ** 59 < 0.05).

A candidate is promoted only when *every* set passes. The chance to promote one that loses the margin or more on some
set is then at most 1 - confidence, however many sets there are (the intersection-union test, Berger 1982), so passing
needs no correction. **Failing** is the other way round: one set is enough to refuse, and each further set is another
chance to refuse a good candidate. A set fails when the candidate is worse by at least the margin *and* significantly
worse by the exact McNemar test (1947; the sign test where scores are not 0 and 1), corrected over the sets by Holm
(1979).

Between the two there is not enough evidence, and the verdict says how many questions would do.
"""

import math
from collections.abc import Callable, Iterable
from statistics import fmean
from typing import TYPE_CHECKING, Any

from components.config.groups.gate import Gate
from components.errors import MartletError
from components.evaluation.verdict import GuardVerdict, SetVerdict, Verdict

if TYPE_CHECKING:
    import numpy as np

Records = Iterable[dict[str, Any]]
MOST_QUESTIONS = 100_000


def decide(
    candidate: Records, baseline: Records, gate: Gate, names: tuple[str, str] = ("candidate", "baseline")
) -> Verdict:
    """Compare two models on their answers to the same questions.

    Args:
        candidate, baseline: records as `ask` returns them, with a score in [0, 1] for every question.
        gate: margin, confidence and the limits of the guards.
        names: what to call the two in the verdict.

    Raises:
        MartletError: the two did not answer the same questions, or a score is not a number in [0, 1].
    """
    pairs = _paired(list(candidate), list(baseline))
    if not pairs:
        return Verdict("not enough evidence", "no question was asked", names, gate.margin, gate.confidence, (), ())
    adjusted = _holm({name: _mcnemar(differences(rows)) for name, rows in pairs.items()})
    sets = tuple(_judge(name, rows, adjusted[name], len(pairs), gate) for name, rows in pairs.items())
    guards = _guards([pair for rows in pairs.values() for pair in rows], gate)
    decision, reason = _overall(sets, guards)
    return Verdict(decision, reason, names, gate.margin, gate.confidence, sets, guards)


Pair = tuple[dict[str, Any], dict[str, Any]]


def _paired(candidate: list[dict[str, Any]], baseline: list[dict[str, Any]]) -> dict[str, list[Pair]]:
    """Set name to (candidate's record, baseline's record) of each question, in the candidate's order."""
    ours = {(record["set"], record["item"]): record for record in candidate}
    theirs = {(record["set"], record["item"]): record for record in baseline}
    different = {
        key[0] for key in ours.keys() | theirs.keys() if _question(ours.get(key)) != _question(theirs.get(key))
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
    for key, record in ours.items():
        pairs.setdefault(key[0], []).append((record, theirs[key]))
    return pairs


def _question(record: dict[str, Any] | None) -> tuple[str, str] | None:
    return (record["query"], record["reference"]) if record else None


def differences(rows: list[Pair]) -> "np.ndarray":
    """Candidate's score minus baseline's, shape (questions,), each in [-1, 1]."""
    import numpy as np

    return np.array([ours["score"] - theirs["score"] for ours, theirs in rows])


def lower_bound(difference: "np.ndarray", confidence: float, resamples: int, scale: float = 1.0) -> float:
    """One-sided lower confidence bound of the mean difference (see the module's docstring).

    `difference` has shape (questions,) with values in [-1, 1]. `scale` 3.0 asks what the bound would be with three
    times the questions answered in the same proportions. The upper bound is `-lower_bound(-difference)`.
    """
    import numpy as np

    values, counts = np.unique(difference, return_counts=True)
    generator = np.random.default_rng(0)
    lost = generator.gamma(1.0, size=resamples)
    weighted, total = -lost, lost
    for value, count in zip(values, counts * scale, strict=True):  # Dirichlet weights as normalised gammas
        weight = generator.gamma(count, size=resamples)
        weighted, total = weighted + value * weight, total + weight
    return float(np.quantile(weighted / total, 1 - confidence))


def _mcnemar(difference: "np.ndarray", scale: float = 1.0) -> float:
    """Exact two-sided p-value of "as many questions are lost as gained"."""
    from scipy.stats import binomtest

    lost, gained = round((difference < 0).sum() * scale), round((difference > 0).sum() * scale)
    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0


def _holm(p_values: dict[str, float]) -> dict[str, float]:
    """p-values adjusted for the number of sets, step-down."""
    adjusted, highest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = highest
    return adjusted


def _judge(name: str, rows: list[Pair], p_value: float, sets: int, gate: Gate) -> SetVerdict:
    difference = differences(rows)
    items, mean = len(rows), float(difference.mean())
    low = lower_bound(difference, gate.confidence, gate.resamples)
    high = -lower_bound(-difference, gate.confidence, gate.resamples)
    suffices = None
    if items >= gate.min_items and low > -gate.margin:
        decision = "pass"
    elif items >= gate.min_items and mean <= -gate.margin and p_value <= 1 - gate.confidence:
        decision = "fail"
    else:
        decision = "not enough evidence"
        suffices = _enough(difference, sets, gate)
    return SetVerdict(
        name=name,
        decision=decision,
        items=items,
        candidate=round(fmean(ours["score"] for ours, _ in rows), 6),
        baseline=round(fmean(theirs["score"] for _, theirs in rows), 6),
        difference=round(mean, 6),
        low=round(low, 6),
        high=round(high, 6),
        lost=int((difference < 0).sum()),
        gained=int((difference > 0).sum()),
        p_value=round(p_value, 6),
        suffices=suffices,
    )


def _enough(difference: "np.ndarray", sets: int, gate: Gate) -> int | None:
    """About how many questions would decide if they went on as these did; None when even 100,000 would not."""
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
        if high * items > MOST_QUESTIONS:
            return None
    low = high / 2
    while (high - low) * items > 1:
        middle = (low + high) / 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return math.ceil(high * items)


def _guards(pairs: list[Pair], gate: Gate) -> tuple[GuardVerdict, ...]:
    """What a score does not see: answers that run on, and answers that are missing."""
    length, usual = (fmean(pair[side]["answer_tokens"] for pair in pairs) for side in (0, 1))
    empty, before = (fmean(not pair[side]["answer"].strip() for pair in pairs) for side in (0, 1))
    ratio = length / max(usual, 1.0)
    return (
        GuardVerdict("answer length", ratio <= gate.max_length_ratio, round(ratio, 6), gate.max_length_ratio),
        GuardVerdict(
            "empty answers", empty <= before + gate.max_empty, round(empty, 6), round(before + gate.max_empty, 6)
        ),
    )


def _overall(sets: tuple[SetVerdict, ...], guards: tuple[GuardVerdict, ...]) -> tuple[Any, str]:
    refused = [s.reason for s in sets if s.decision == "fail"] + [g.reason for g in guards if not g.passed]
    if refused:
        return "refuse", "; ".join(refused)
    undecided = [s.reason for s in sets if s.decision == "not enough evidence"]
    if undecided:
        return "not enough evidence", "; ".join(undecided)
    return "promote", f"no set lost more than the margin, and {len(guards)} guards hold"
