"""What reinforcement learning is given from outside: an engine that samples answers, and rewards that judge them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from components.rows import Message
from components.tokens import TokenRow


class Sampled(NamedTuple):
    """What follows a prompt: one answer, or several with what tools or the user said in between.

    Attributes:
        ids: all token ids behind the prompt, end tokens included.
        is_generated: for each of these whether the model wrote it; only such tokens are learned.
        text: of the last answer.
        messages: the answers, and what was said in between.
        is_truncated: the limit of the length ended the conversation.
        has_failed: the scheduler of turns raised, which ended it.
        log_probs: of each token that the model wrote the log probability by which it was drawn, where another program
            than the trained model drew it.
    """

    ids: list[int]
    is_generated: list[bool]
    text: str
    messages: list[Message]
    is_truncated: bool
    has_failed: bool = False
    log_probs: list[float] | None = None

    @property
    def length(self) -> int:
        """Tokens that the model wrote."""
        return sum(self.is_generated)

    @property
    def turns(self) -> int:
        """Answers of the model."""
        return sum(message["role"] == "assistant" for message in self.messages)


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

    def close(self) -> None:
        """End what samples answers."""
        ...
