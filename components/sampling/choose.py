"""The choice among the answers to one prompt, and the rows that are made of it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from components.config.groups.sample import Sample
from components.rows import Message, Row

PROVENANCE = "sampled"
"""The column that says where a row comes from; no format of rows reads it."""


class Prompt(NamedTuple):
    """What is asked."""

    messages: list[Message]
    columns: dict[str, Any]
    """Of its row, for the rewards."""
    beside: Row
    """Canonical columns that belong to its answers, too: `tools`, `chat_template_kwargs`, `channel`, media."""


class Drawn(NamedTuple):
    """One answer."""

    text: str
    message: Message
    tokens: int
    is_truncated: bool
    """Whether the length limit ended it, not an end token."""


class Candidate(NamedTuple):
    """An answer that was judged."""

    answer: Drawn
    number: int
    """Of the draw that gave it first, from 0."""
    times: int
    """Draws that gave it."""
    score: float
    rewards: dict[str, float | None]


class Choice(NamedTuple):
    """The rows that are kept of one prompt, and what there was to choose from."""

    rows: list[Row]
    candidates: list[Candidate]
    right: int
    """Draws that gave a right answer."""
    is_easy: bool


def distinct(answers: Sequence[Drawn]) -> dict[int, int]:
    """Return by the number of the draw that gave it first how often each answer was drawn; empty ones are left out."""
    counts: dict[str, int] = {}
    firsts: dict[str, int] = {}
    for number, answer in enumerate(answers):
        if answer.text.strip():
            firsts.setdefault(answer.text, number)
            counts[answer.text] = counts.get(answer.text, 0) + 1
    return {number: counts[text] for text, number in firsts.items()}


def choose(prompt: Prompt, candidates: list[Candidate], settings: Sample, provenance: dict[str, Any]) -> Choice:
    """Return what is kept of one prompt: its best answers, or the best against the worst.

    A right answer has a score above `score_threshold`. One that the length limit cut off is never kept as a good one.
    Equal scores stand in the order of the draws.
    """
    ranked = sorted(candidates, key=lambda candidate: -candidate.score)
    right = sum(candidate.times for candidate in ranked if candidate.score > settings.score_threshold)
    share = right / settings.num_return_sequences
    is_easy = settings.easy_query_threshold is not None and share > settings.easy_query_threshold
    good = [c for c in ranked if c.score > settings.score_threshold and not c.answer.is_truncated]
    if is_easy or not good:
        return Choice([], ranked, right, is_easy)
    build = _conversations if settings.sample_format == "messages" else _preference
    return Choice(build(prompt, good[: settings.n_best_to_keep], ranked, provenance), ranked, right, is_easy)


def _conversations(
    prompt: Prompt, good: list[Candidate], ranked: list[Candidate], provenance: dict[str, Any]
) -> list[Row]:
    """Return a conversation for each good answer; earlier answers in it are not learned."""
    before = [
        {"loss_scale": 0.0, **message} if message["role"] == "assistant" else message for message in prompt.messages
    ]
    return [
        {
            "messages": [*before, candidate.answer.message],
            **prompt.beside,
            PROVENANCE: {**provenance, **_origin(candidate, ranked)},
        }
        for candidate in good
    ]


def _preference(
    prompt: Prompt, good: list[Candidate], ranked: list[Candidate], provenance: dict[str, Any]
) -> list[Row]:
    """Return the best good answer against the worst of all, where the scores differ."""
    best, worst = good[0], ranked[-1]
    if best.score == worst.score:
        return []
    origins = {"chosen": _origin(best, ranked), "rejected": _origin(worst, ranked)}
    return [
        {
            "prompt": prompt.messages,
            "chosen": [best.answer.message],
            "rejected": [worst.answer.message],
            "margin": best.score - worst.score,
            **prompt.beside,
            PROVENANCE: {**provenance, **origins},
        }
    ]


def _origin(candidate: Candidate, ranked: list[Candidate]) -> dict[str, Any]:
    return {
        "draw": candidate.number,
        "times_drawn": candidate.times,
        "score": candidate.score,
        "rewards": candidate.rewards,
        "rank": 1 + sum(other.score > candidate.score for other in ranked),
        "of": len(ranked),
    }
