"""Conversations: OpenAI's, Anthropic's and ms-swift's `messages`, ShareGPT's `conversations`.

https://platform.openai.com/docs/api-reference/chat, https://docs.anthropic.com/en/api/messages
"""

from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats._columns import CONVERSATIONS, Columns, is_complete, single_turn
from components.data.normalize import Media, extra, messages_of, system_of

ACCEPTS = "messages or conversations of {role, content}, {from, value} or {human, assistant}"


def readings(columns: Collection[str]) -> list[Columns]:
    """One for each column of conversations.

    A question or an answer beside it are what the conversation was made of (`problem` and `solution`, say), and its own
    unless they are an entire row of another format.
    """
    parts = [] if is_complete(columns) else single_turn(columns)
    return [(name, *parts) for name in CONVERSATIONS if name in columns]


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """The messages, behind the row's own system prompt when they do not begin with one.

    Without an assistant they are a prompt. When they end with the user's turn, other columns are kept for rewards.
    """
    media: Media = {}
    column = columns[0]
    messages = messages_of(raw[column], column, media)
    if messages[0]["role"] != "system" and (system := system_of(raw)):
        messages = system + messages
    if messages[-1]["role"] == "assistant":
        return {"messages": messages} | media
    answered = any(message["role"] == "assistant" for message in messages)
    rewards = extra(raw, column) if messages[-1]["role"] == "user" else {}
    return {"messages" if answered else "prompt": messages} | rewards | media
