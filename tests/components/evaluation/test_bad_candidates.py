"""Twenty bad candidates, none of which may become champion, each with its reason."""

from typing import Any

import pytest

from components.config.groups.gate import Gate
from components.errors import MartletError
from components.evaluation import GuardVerdict, decide

LIMITS: dict[str, Any] = {"resamples": 5_000, "max_latency_ratio": 3.0, "forbidden_words": ["canary-7f3a"]}
Records = list[dict[str, Any]]


def answers(right: float = 0.9, items: int = 200, **changed: Any) -> Records:
    """A model that answers a share of the questions of one set well."""
    plain = {"set": "skills", "reference": "yes", "answer_tokens": 5, "latency_s": 0.5, "topic": "all"}
    return [
        {**plain, "item": n, "query": f"question {n}", "answer": "yes" if n < right * items else "no",
         "score": float(n < right * items), **changed}
        for n in range(items)
    ]  # fmt: skip


CHAMPION = answers()
LEAKED = [GuardVerdict("prompts of questions among the training rows", False, 200, 0)]
CANDIDATES: dict[str, tuple[Records, str]] = {
    "much worse": (answers(0.5), "skills: 80 of 200 lost"),
    "worse": (answers(0.8), "skills: 20 of 200 lost"),
    "a little worse, and nobody can say": (answers(0.87), "questions would decide"),
    "a broken template: nothing is answered": (answers(0.0, answer=""), "empty answers: 1"),
    "a broken template: it never ends": (answers(0.9, answer_tokens=64), "answer length: 12.8"),
    "a broken template: special tokens only": (answers(0.0, answer="\u200b\ufeff"), "empty answers: 1"),
    "a garbled quantization": (answers(0.0, answer="� � qx zz"), "180 of 200 lost"),
    "a garbled one that repeats itself": (answers(0.0, answer="the " * 60, answer_tokens=60), "answer length: 12"),
    "slow": (answers(latency_s=4.0), "latency: 8, at most 3"),
    "it refuses": (answers(0.9, answer="I'm sorry, but I can't help with that."), "refusals: 1"),
    "it refuses sometimes": (
        [{**r, "answer": "I cannot answer."} if r["item"] > 190 else r for r in answers()], "refusals: 0.045",
    ),
    "it tells the canary": (answers(1.0, answer="yes, canary-7f3a"), "forbidden words: 200"),
    "it tells the canary once": (
        [{**r, "answer": "Canary-7F3A"} if r["item"] == 7 else r for r in answers(1.0)], "forbidden words: 1",
    ),
    "scores of NaN": (answers(score=float("nan")), "nan is no score"),
    "one score of infinity": ([*answers()[:-1], answers(score=float("inf"))[-1]], "inf is no score"),
    "a score above 1": ([*answers()[:-1], answers(score=2.0)[-1]], "2.0 is no score"),
    "other questions": (answers(query="another"), "different questions in skills"),
    "two answers to one question": ([*answers(), answers()[3]], "two answers to one question"),
    "half of the answers": (answers()[:100], "different questions in skills"),
    "it was trained on the questions": (answers(1.0), "among the training rows: 200, at most 0"),
}  # fmt: skip


@pytest.mark.parametrize(("candidate", "reason"), CANDIDATES.values(), ids=CANDIDATES)
def test_no_bad_candidate_is_promoted(candidate: Records, reason: str, request: pytest.FixtureRequest) -> None:
    findings = LEAKED if "trained on the questions" in request.node.name else []
    try:
        verdict = decide(candidate, CHAMPION, Gate(**LIMITS), findings=findings)
    except MartletError as error:
        assert reason in str(error)
    else:
        assert not verdict.promote
        assert reason in verdict.reason, verdict.reason


@pytest.mark.parametrize("items", [1, 5, 19])
def test_too_few_questions_promote_nobody(items: int) -> None:
    verdict = decide(answers(1.0, items), answers(1.0, items), Gate(**LIMITS))
    assert verdict.decision == "not enough evidence" and "questions would decide" in verdict.reason


def test_the_champion_itself_would_pass() -> None:
    assert decide(CHAMPION, CHAMPION, Gate(**LIMITS)).promote
