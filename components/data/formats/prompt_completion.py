"""TRL's prompt and completion, as texts or as messages (https://huggingface.co/docs/trl/dataset_formats)."""

from typing import Any

from components.data.turns import Message, conversation, messages_of, text

ACCEPTS = "prompt + completion"


def matches(row: dict[str, Any]) -> bool:
    """A prompt and a completion."""
    return "prompt" in row and "completion" in row


def read(row: dict[str, Any]) -> list[Message]:
    """One question and its answer, or the messages of both."""
    if isinstance(row["prompt"], list):
        return messages_of(row["prompt"], "prompt") + messages_of(row["completion"], "completion")
    return conversation(row, text(row, "prompt"), text(row, "completion"))
