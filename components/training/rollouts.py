"""What reinforcement learning is given from outside: an engine that samples answers, and rewards that judge them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from components.tokens import TokenRow


class Sampled(NamedTuple):
    """One answer: its token ids, the end token included, its text, and whether the length limit ended it."""

    ids: list[int]
    text: str
    is_truncated: bool


class Judgement(NamedTuple):
    """What the rewards say of a batch of answers.

    Attributes:
        totals: the weighted sum of the rewards of each answer.
        values: by reward what it gave for each answer, None where it says nothing.
        errors: by reward on how many answers it failed.
    """

    totals: list[float]
    values: dict[str, list[float | None]]
    errors: dict[str, int]


class Rollouts(Protocol):
    """Samples and judges answers of the model that is trained."""

    def sample(self, model: Any, rows: Sequence[TokenRow], seeds: Sequence[int]) -> list[Sampled]:
        """Return an answer to each row's prompt by `model` as it is now; equal rows and seeds give equal answers."""
        ...

    def judge(self, rows: Sequence[TokenRow], answers: Sequence[Sampled]) -> Judgement:
        """Return what the rewards say of an answer to each row, a row of the shape `prompt`."""
        ...
