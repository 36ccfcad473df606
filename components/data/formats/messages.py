"""OpenAI's and TRL's conversations: a list of messages with role and content."""

from typing import Any

from components.data.turns import Message, messages_of, text

ACCEPTS = "messages of {role, content}"


def matches(row: dict[str, Any]) -> bool:
    """Either key, and not both."""
    return (row.get("messages") is None) != (row.get("conversations") is None)


def read(row: dict[str, Any]) -> list[Message]:
    """The messages as they stand, behind the row's own `system` when they bring none."""
    key = "conversations" if row.get("messages") is None else "messages"
    messages = messages_of(row[key], key)
    system = text(row, "system")
    if system and not any(message["role"] == "system" for message in messages):
        messages.insert(0, {"role": "system", "content": system})
    return messages
