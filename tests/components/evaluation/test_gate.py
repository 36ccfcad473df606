"""The gate's rules: what it promotes, what it refuses, when it does not know, and how often it is wrong."""

import json
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config.groups.gate import Gate
from components.errors import ConfigError, MartletError
from components.evaluation import Verdict, decide
from components.evaluation.paired import holm, lower_bound

GATE = Gate()
QUICK = Gate(resamples=5_000)
PAIRS = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=60)


def records(scores: list[float], name: str = "skills", tokens: int = 5) -> list[dict[str, Any]]:
    return [
        {
            "set": name,
            "item": item,
            "query": f"question {item}",
            "reference": "yes",
            "answer": "yes" if score else "no",
            "score": score,
            "answer_tokens": tokens,
        }
        for item, score in enumerate(scores)
    ]


def compare(items: int, lost: int = 0, gained: int = 0, gate: Gate = GATE) -> Verdict:
    """A candidate that lost so many answers of a baseline, and gained so many others."""
    baseline = [1.0] * (items - gained) + [0.0] * gained
    candidate = [0.0] * lost + [1.0] * (items - lost)
    return decide(records(candidate), records(baseline), gate)


@pytest.mark.parametrize(
    ("items", "lost", "gained", "decision"),
    [
        (59, 0, 0, "promote"),  # 0.95 ** 59 < 0.05
        (55, 0, 0, "not enough evidence"),
        (60, 1, 0, "not enough evidence"),
        (95, 1, 0, "promote"),
        (60, 12, 0, "refuse"),  # 100 % to 80 %
        (40, 8, 0, "refuse"),
        (60, 2, 50, "promote"),  # much better, though two were lost
        (200, 4, 0, "promote"),
        (200, 5, 0, "not enough evidence"),
        (400, 10, 12, "promote"),
        (60, 3, 0, "not enough evidence"),
        (10, 10, 0, "not enough evidence"),  # below min_items
    ],
)
def test_decisions_on_one_set(items: int, lost: int, gained: int, decision: str) -> None:
    verdict = compare(items, lost, gained)
    assert verdict.decision == decision, verdict
    assert (verdict.sets[0].lost, verdict.sets[0].gained) == (lost, gained)


def test_identical_models_are_promoted_with_a_symmetric_interval_round_zero() -> None:
    scores = [1.0, 0.0, 1.0] * 30
    verdict = decide(records(scores), records(scores), GATE)
    only = verdict.sets[0]
    assert verdict.promote
    assert only.difference == 0
    assert only.low == -only.high
    assert only.p_value == 1


@pytest.mark.parametrize(("lost", "items"), [(0, 60), (1, 95), (3, 160), (8, 200)])
def test_with_losses_alone_the_bound_is_clopper_and_pearsons(lost: int, items: int) -> None:
    from scipy.stats import beta

    difference = np.array([-1.0] * lost + [0.0] * (items - lost))
    assert lower_bound(difference, 0.95, 200_000) == pytest.approx(-beta.ppf(0.95, lost + 1, items - lost), rel=0.01)


def test_the_number_of_questions_that_would_do_does() -> None:
    for items, lost in [(40, 0), (60, 1), (100, 2)]:
        needed = compare(items, lost).sets[0].suffices
        assert needed is not None and needed > items
        assert compare(needed + 1, math.floor(lost * needed / items)).promote


def test_one_bad_set_refuses_and_is_named() -> None:
    good = records([1.0] * 80, "identity") + records([1.0] * 80, "sounds")
    verdict = decide(good + records([0.0] * 20 + [1.0] * 60, "skills"), good + records([1.0] * 80, "skills"), GATE)
    assert [entry.decision for entry in verdict.sets] == ["pass", "pass", "fail"]
    assert verdict.decision == "refuse"
    assert "skills" in verdict.reason and "identity" not in verdict.reason


def test_holm_steps_down() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})


def test_a_candidate_that_rambles_or_stays_silent_is_refused() -> None:
    baseline = records([1.0] * 80, tokens=5)
    rambling = decide(records([1.0] * 80, tokens=11), baseline, GATE)
    assert rambling.decision == "refuse" and "answer length: 2.2" in rambling.reason
    silent = [{**record, "answer": " " if record["item"] < 3 else "yes"} for record in baseline]
    assert "empty answers" in decide(silent, baseline, GATE).reason


def test_different_questions_are_an_error_that_names_the_sets() -> None:
    ours = records([1.0] * 5, "same") + records([1.0] * 5, "changed")
    theirs = records([1.0] * 5, "same") + [{**r, "query": "another"} for r in records([1.0] * 5, "changed")]
    with pytest.raises(MartletError, match=r"different questions in changed:"):
        decide(ours, theirs, GATE)
    with pytest.raises(MartletError, match=r"different questions in changed:"):
        decide(ours, records([1.0] * 5, "same"), GATE)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), 1.5, -0.1])
def test_a_score_that_is_none_is_an_error_not_a_pass(score: float) -> None:
    with pytest.raises(MartletError, match="no score"):
        decide(records([score] + [1.0] * 59), records([1.0] * 60), GATE)


def test_two_answers_to_one_question_are_an_error_not_one_of_them() -> None:
    once = records([1.0] * 60)
    with pytest.raises(MartletError, match="set 'skills', item 7: two answers to one question"):
        decide([*once, {**once[7], "score": 0.0}], once, GATE)


@pytest.mark.parametrize(
    ("base", "candidate", "min_accuracy", "decision"),
    [
        (0.0, 0.0, None, "not enough evidence"),  # useless, as the base is
        (1.0, 1.0, None, "not enough evidence"),  # the interval round 0 is as narrow as it gets
        (0.5, 0.52, None, "not enough evidence"),  # two of a hundred may be luck
        (0.0, 0.9, None, "promote"),
        (0.9, 0.9, 0.8, "promote"),
        (0.9, 0.9, 0.88, "not enough evidence"),  # 90 of 100 may be 84 %
        (0.0, 0.0, 0.01, "not enough evidence"),
    ],
)
def test_a_first_champion_must_be_better_than_its_base_or_good_enough(
    base: float, candidate: float, min_accuracy: float | None, decision: str
) -> None:
    def of(share: float) -> list[dict[str, Any]]:
        return records([float(n < 100 * share) for n in range(100)])

    gate = Gate(resamples=20_000, min_accuracy=min_accuracy)
    verdict = decide(of(candidate), of(base), gate, ("version 1", "the base model"), must_gain=True)
    assert verdict.decision == decision, verdict.reason
    if decision != "promote":
        assert verdict.reason.startswith("no evidence that it is better than the base model")
    assert decide(of(candidate), of(base), gate).promote  # against a champion, not to be worse is enough


def test_a_first_champion_needs_one_better_set_that_is_large_enough() -> None:
    same = records([0.0] * 80, "same")

    def verdict(items: int) -> Verdict:
        gained, before = records([1.0] * items, "gained"), records([0.0] * items, "gained")
        return decide(same + gained, same + before, Gate(resamples=20_000, min_items=30), must_gain=True)

    assert verdict(30).decision == "promote"
    assert "better than baseline on gained" in verdict(30).reason
    assert verdict(29).decision == "not enough evidence"


def test_of_models_as_good_as_their_base_few_become_first_champion_however_many_sets() -> None:
    generator = np.random.default_rng(3)
    gate, promoted = Gate(resamples=2_000, margin=0.5, min_items=1), 0
    for _ in range(200):
        ours, theirs = (
            [r for name in "abcde" for r in records(list(map(float, generator.random(60) < 0.5)), name)]
            for _ in range(2)
        )
        promoted += decide(ours, theirs, gate, must_gain=True).promote
    assert promoted <= 0.05 * 200 + 8


def test_an_answer_of_zero_width_characters_is_empty() -> None:
    unseen = [{**record, "answer": "\u200b\u2060 \ufeff"} for record in records([1.0] * 80)]
    assert "empty answers" in decide(unseen, records([1.0] * 80), GATE).reason


def test_a_p_value_is_never_printed_as_zero() -> None:
    reason = compare(400, lost=300).reason
    assert "p < 0.001" in reason and "p = 0" not in reason


def test_no_questions_decide_nothing() -> None:
    assert decide([], [], GATE).decision == "not enough evidence"


@given(PAIRS)
@settings(deadline=None, max_examples=50)
def test_swapping_the_models_flips_difference_and_bounds(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = (records(list(scores)) for scores in zip(*pairs, strict=True))
    one, other = decide(ours, theirs, QUICK).sets[0], decide(theirs, ours, QUICK).sets[0]
    assert (one.difference, one.low, one.high) == (-other.difference, -other.high, -other.low)
    assert (one.lost, one.gained, one.p_value) == (other.gained, other.lost, other.p_value)


@given(PAIRS, st.integers(1, 200))
@settings(deadline=None, max_examples=50)
def test_questions_that_both_answer_alike_never_change_the_sign(pairs: list[tuple[float, float]], more: int) -> None:
    longer = [*pairs, *[(1.0, 1.0)] * more]
    before, after = (
        decide(*(records(list(scores)) for scores in zip(*rows, strict=True)), QUICK).sets[0]
        for rows in (pairs, longer)
    )
    assert np.sign(before.difference) == np.sign(after.difference)
    assert abs(after.difference) <= abs(before.difference)


@given(PAIRS, st.integers(0, 3))
@settings(deadline=None, max_examples=50)
def test_a_better_answer_never_lowers_the_bound(pairs: list[tuple[float, float]], which: int) -> None:
    ours, theirs = (list(scores) for scores in zip(*pairs, strict=True))
    better = [1.0 if item == which else score for item, score in enumerate(ours)]
    noise = 0.02  # of 5,000 resamples
    assert (
        decide(records(better), records(theirs), QUICK).sets[0].low
        >= decide(records(ours), records(theirs), QUICK).sets[0].low - noise
    )


@pytest.mark.parametrize("gain", [0.0, 0.05, 0.2], ids=lambda gain: f"gains {gain:.0%}")
@pytest.mark.parametrize("items", [40, 60, 150, 400])
def test_a_model_that_loses_the_margin_is_rarely_promoted(items: int, gain: float) -> None:
    """Its true loss is the margin; at most 1 - confidence of such models may pass, within the noise of 4,000 draws."""

    @cache
    def passes(lost: int, gained: int) -> bool:
        difference = np.array([-1.0] * lost + [1.0] * gained + [0.0] * (items - lost - gained))
        return lower_bound(difference, GATE.confidence, 5_000) > -GATE.margin

    shares = [GATE.margin + gain, gain, 1 - GATE.margin - 2 * gain]
    draws = np.random.default_rng(1).multinomial(items, shares, size=4_000)
    promoted = np.mean([passes(int(lost), int(gained)) for lost, gained, _ in draws])
    assert promoted <= 1 - GATE.confidence + 0.01


def test_a_good_model_is_usually_promoted_and_a_bad_one_refused() -> None:
    generator = np.random.default_rng(2)

    def decisions(kept: float, items: int) -> list[str]:
        lost = generator.binomial(items, 1 - kept, size=40)
        return [compare(items, int(number), gate=QUICK).decision for number in lost]

    assert decisions(0.99, 200).count("promote") >= 34
    bad = decisions(0.8, 100)
    assert bad.count("refuse") >= 38 and "promote" not in bad


@pytest.mark.parametrize(("lost", "gained", "items"), [(0, 0, 40), (1, 0, 60), (2, 1, 60), (12, 6, 60), (8, 2, 60)])
def test_at_the_size_that_was_asked_for_four_of_five_good_models_are_decided(
    lost: int, gained: int, items: int
) -> None:
    first = compare(items, lost, gained, QUICK)
    size = first.sets[0].suffices
    assert first.decision == "not enough evidence" and size
    shares = [lost / items, gained / items, 1 - (lost + gained) / items]
    wanted = "promote" if (lost - gained) / items < GATE.margin else "refuse"

    @cache
    def decision(lost: int, gained: int) -> str:
        return compare(size, lost, gained, QUICK).decision

    draws = np.random.default_rng(4).multinomial(size, shares, size=200)
    assert np.mean([decision(int(lost), int(gained)) == wanted for lost, gained, _ in draws]) >= 0.8


@pytest.mark.parametrize("size", [1, 5, 20])
def test_with_clusters_a_model_that_loses_the_margin_is_rarely_promoted(size: int) -> None:
    """All questions of a cluster are lost together; the true loss is the margin, 10 %."""
    generator, gate = np.random.default_rng(5), Gate(margin=0.1, resamples=2_000, cluster_by="source", min_items=1)
    clusters, promoted, alone = 400 // size, 0, 0
    names = np.repeat(np.arange(clusters), size)
    for _ in range(300):
        difference = -np.repeat(generator.random(clusters) < gate.margin, size).astype(float)
        promoted += lower_bound(difference, 0.95, 2_000, clusters=names) > -gate.margin
        alone += lower_bound(difference, 0.95, 2_000) > -gate.margin
    assert promoted / 300 <= 0.05 + 0.025
    if size == 20:
        assert alone / 300 > 0.15  # what the column is for


def test_clusters_are_the_values_of_a_column_of_the_questions() -> None:
    def of(scores: list[float]) -> list[dict[str, Any]]:
        return [{**record, "source": f"page {record['item'] // 40}"} for record in records(scores)]

    ours, theirs = of([1.0] * 200), of([1.0] * 200)
    assert decide(ours, theirs, QUICK).promote
    by_source = decide(ours, theirs, Gate(resamples=5_000, cluster_by="source"))
    assert by_source.decision == "not enough evidence"  # five pages are five questions
    assert (by_source.sets[0].suffices or 0) > 2000


def test_a_set_may_have_a_margin_of_its_own() -> None:
    ours = [r for name in ("skills", "safety") for r in records([0.0] * 2 + [1.0] * 158, name)]
    theirs = [r for name in ("skills", "safety") for r in records([1.0] * 160, name)]
    assert decide(ours, theirs, QUICK).promote
    strict = decide(ours, theirs, Gate(resamples=5_000, margins={"safety": 0.01}))
    assert [entry.decision for entry in strict.sets] == ["pass", "not enough evidence"]
    with pytest.raises(ConfigError, match=r"gate.margins: there is no question set 'safty' \(did you mean 'safety'"):
        decide(ours, theirs, Gate(margins={"safty": 0.01}))


ANSWERS = {
    "refusals": ({"answer": "I'm sorry, but I can't help with that."}, {}, "refusals: 1, at most 0.02"),
    "refusals of the reference": ({"answer": "I cannot.", "reference": "I cannot do that."}, {}, None),
    "refusals in other words": ({"answer": "抱歉，我不能回答。"}, {}, "refusals: 1"),
    "a sorry that refuses nothing": ({"answer": "The word sorry, I can say, is English."}, {}, None),
    "malformed": ({"answer": '{"a": 1', "reference": '{"a": 1}'}, {}, "malformed JSON: 1, at most 0.02"),
    "well formed": ({"answer": '```json\n{"a": 1}\n```', "reference": '{"a": 1}'}, {}, None),
    "slow": ({"latency_s": 4.0}, {"max_latency_ratio": 3}, "latency: 4, at most 3 is allowed"),
    "not measured": ({"latency_s": 4.0}, {}, None),
    "a canary": ({"answer": "the code is canary-7f3a."}, {"forbidden_words": ["CANARY-7f3a"]}, "forbidden words: 80"),
    "a canary in a word": ({"answer": "xcanary-7f3ay"}, {"forbidden_words": ["CANARY-7f3a"]}, "forbidden words: 80"),
    "a script without spaces": ({"answer": "你是个傻瓜吗"}, {"forbidden_words": ["傻瓜"]}, "forbidden words: 80"),
    "letters that fold": ({"answer": "in der STRASSE"}, {"forbidden_words": ["Straße"]}, "forbidden words: 80"),
    "a part of a word": ({"answer": "grass"}, {"forbidden_words": ["ass"]}, None),
    "a word that is asked for": ({"answer": "damn", "reference": "Damn!"}, {"forbidden_words": ["damn"]}, None),
}


@pytest.mark.parametrize(("answer", "limits", "reason"), ANSWERS.values(), ids=ANSWERS)
def test_guards(answer: dict[str, Any], limits: dict[str, Any], reason: str | None) -> None:
    gate, plain = Gate(resamples=2_000, **limits), [{**record, "latency_s": 1.0} for record in records([1.0] * 80)]
    reference = {name: answer[name] for name in ("reference",) if name in answer}
    good = {"answer": '{"a": 1}'} if answer.get("reference") == '{"a": 1}' else {}
    theirs = [{**record, **reference, **good} for record in plain]
    verdict = decide([{**record, **answer} for record in theirs], theirs, gate)
    assert verdict.decision == ("refuse" if reason else "promote"), verdict
    assert (reason or "guards hold") in verdict.reason


def test_the_verdict_is_deterministic_and_prints_itself() -> None:
    verdict = compare(60, 1, gate=QUICK)
    assert verdict == compare(60, 1, gate=QUICK)
    assert json.loads(json.dumps(verdict.to_dict(), allow_nan=False))["sets"][0]["lost"] == 1
    lines = verdict.lines()
    assert lines[-1].startswith("not enough evidence: skills: 1 of 60 lost, 0 gained")
    assert "questions would decide" in lines[-1]
    assert lines[2].split()[:2] == ["skills", "60"]
    assert "| skills | 60 | 100.0 % | 98.3 % | -1.7 |" in verdict.markdown()
    assert "<td>skills</td>" in verdict._repr_html_()
