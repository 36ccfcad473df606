"""A prompt alone, for rewards to judge the answers: TRL's and verl's GRPO sets. What else the row holds is theirs."""

from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats import _columns
from components.data.formats._columns import Columns
from components.data.normalize import Media, extra, messages_of, question_messages, system_of, text

ACCEPTS = "prompt or query alone"


def readings(columns: Collection[str]) -> list[Columns]:
    """A prompt by one of its names."""
    return [(name,) for name in _columns.prompts(columns)]


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """The prompt, and every other column in `extra`."""
    media: Media = {}
    return {"prompt": prompt_of(raw, columns[0], media)} | extra(raw, columns[0]) | media


def prompt_of(raw: dict[str, Any], column: str, media: Media) -> list[rows.Message]:
    """The messages of a prompt: its own list, or system prompt, history and one question."""
    if not isinstance(raw[column], list):
        return question_messages(raw, text(raw, column))
    messages = messages_of(raw[column], column, media)
    return messages if messages[0]["role"] == "system" else [*system_of(raw), *messages]
