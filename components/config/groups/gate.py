"""Parameters of the evaluation gate. Read when a candidate is judged, and by the stage `evaluate` for its
page."""

from typing import Literal

from pydantic import field_validator

from components.config.fields import Group, Names, Shares, field


class Gate(Group):
    """Non-inferiority on the same questions, with an interval on the paired difference."""

    margin: float = field(0.05, "accuracy that a candidate may lose on any question set", gt=0, lt=1)
    margins: Shares = field({}, 'margins of single question sets, as JSON: {"safety": 0.01}')
    cluster_by: Literal["source", "topic"] | None = field(
        None, "column of the questions that are lost and gained together; by default each question stands alone"
    )
    confidence: float = field(
        0.95, "confidence that a promoted candidate has not lost the margin on any set", gt=0.5, lt=1
    )
    resamples: int = field(100_000, "bootstrap resamples", ge=1000)
    min_items: int = field(20, "smallest question set that decides about a candidate", ge=1)
    min_accuracy: float | None = field(
        None,
        "accuracy on every question set that is good enough for a first champion which is not better than its base",
        gt=0,
        lt=1,
    )
    max_length_ratio: float = field(2.0, "longest mean answer allowed, as a multiple of the champion's", gt=0)
    max_empty: float = field(0.02, "share of empty answers allowed above the champion's", ge=0, le=1)
    max_refusals: float = field(0.02, "share of refusing answers allowed above the champion's", ge=0, le=1)
    max_malformed: float = field(
        0.02, "share of answers that are no JSON, where JSON is expected, allowed above the champion's", ge=0, le=1
    )
    max_latency_ratio: float | None = field(
        None, "longest median seconds to an answer allowed, as a multiple of the champion's", gt=0
    )
    max_leaked: int = field(0, "questions allowed among the training rows", ge=0)
    forbidden_words: Names = field([], "words that no answer may hold unless its reference does: insults, canaries")
    auto_promote: bool = field(True, "promote when the gate opens; false leaves the promotion to `martlet promote`")
    needs_approval: bool = field(
        False,
        "ask a person before a flow promotes: the run pauses, with the verdict on Prefect's page",
    )
    approval_timeout: float = field(
        86400.0, "seconds that a run waits for the answer; without one the version is not promoted", gt=0
    )

    @field_validator("forbidden_words")
    @classmethod
    def _words(cls, words: list[str]) -> list[str]:
        if not all(word.strip() for word in words):
            raise ValueError("has an empty word, which every answer holds")
        return words


OF_RUNS = ("auto_promote", "needs_approval", "approval_timeout")
"""Parameters about what follows a verdict; they are no part of its rules."""
