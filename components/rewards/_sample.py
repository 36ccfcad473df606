"""What a reward judges, and what a reward is."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from components.rows import Message


class Sample(NamedTuple):
    """One answer to be judged."""

    prompt: list[Message]
    """The messages before the answer."""
    completion: str
    """The answer's text, special tokens left out; of several turns the last answer's."""
    messages: list[Message]
    """The answer as messages: one of the assistant, more after turns of tools. A message that calls tools has
    `tool_calls`."""
    tokens: int
    """Tokens that the model wrote."""
    is_truncated: bool
    """Whether the length limit ended the answer, not an end token."""
    columns: dict[str, Any]
    """The other columns of the prompt's row, such as `solution`."""


class Reward(NamedTuple):
    """A function that judges a batch of answers, and its weight in the sum of all."""

    name: str
    weight: float
    function: Callable[[Sequence[Sample]], list[float | None]]
