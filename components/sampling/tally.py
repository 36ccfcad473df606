"""What came of the answers to all prompts."""

from collections import Counter
from typing import Any

from components.sampling.choose import Choice


class Tally:
    """Counts over the choices that were added."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.scores = _Mean()
        self.rewards: dict[str, _Mean] = {}

    def add(self, choice: Choice) -> None:
        """Count one prompt, what was drawn, and what is kept."""
        scores = {candidate.score for candidate in choice.candidates}
        self.counts["prompts"] += 1
        self.counts["without_difference"] += len(scores) < 2
        self.counts["without_right"] += not choice.right
        self.counts["too_easy"] += choice.is_easy
        self.counts["right"] += choice.right
        self.counts["kept"] += len(choice.rows)
        for answer, _, times, score, rewards in choice.candidates:
            self.counts["distinct"] += 1
            self.counts["answers"] += times
            self.counts["cut_off"] += times * answer.is_truncated
            self.scores.add(score, times)
            for name, value in rewards.items():
                self.rewards.setdefault(name, _Mean()).add(value, times)

    def figures(self) -> dict[str, Any]:
        """Return counts of answers, and of prompts; means are over the draws whose answers are not empty."""
        names = ("prompts", "answers", "distinct", "cut_off", "right", "without_right", "without_difference",
                 "too_easy", "kept")  # fmt: skip
        rewards = {name: mean.value for name, mean in self.rewards.items()}
        return {name: self.counts[name] for name in names} | {"mean_score": self.scores.value, "rewards": rewards}


class _Mean:
    """The mean of values that were drawn so many times; None says nothing."""

    def __init__(self) -> None:
        self.sum, self.count = 0.0, 0

    def add(self, value: float | None, times: int) -> None:
        if value is not None:
            self.sum, self.count = self.sum + value * times, self.count + times

    @property
    def value(self) -> float | None:
        return self.sum / self.count if self.count else None
