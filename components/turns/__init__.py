"""Conversations of several turns in reinforcement learning: what follows an answer, as a plugin says.

    scheduler = SCHEDULERS.load("calculator", external=[Path("calculator.py")])
    scheduler.step(Conversation(messages, columns, turn=1))      # messages of tools or the user, or None: it is over

All schedulers are users' files: what answers a call of a tool, only its author knows.
"""

from typing import Any, NamedTuple, Protocol

from components.plugins import Kind
from components.rows import Message

__all__ = ["SCHEDULERS", "Conversation", "Scheduler"]


class Conversation(NamedTuple):
    """A conversation whose last message is an answer of the model."""

    messages: list[Message]
    """The prompt, and what was said since. Answers have `tool_calls` and `reasoning_content` where the template has
    marks for these."""
    columns: dict[str, Any]
    """The other columns of the prompt's row."""
    turn: int
    """How many answers the model has given."""


class Scheduler(Protocol):
    """What the file of a scheduler defines."""

    def step(self, conversation: Conversation) -> list[Message] | None:
        """Return what is said to the last answer, as messages with the role `tool` or `user`; None or no message where
        the conversation is over. Conversations are asked in several threads at a time."""
        ...


SCHEDULERS = Kind("turn scheduler", "multi_turn_scheduler", __name__, Scheduler)
