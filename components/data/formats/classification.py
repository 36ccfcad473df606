"""A text and its class: Hugging Face's sets for text classification (https://huggingface.co/docs/datasets)."""

from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats._columns import CLASSES, CONVERSATIONS, Columns, single_turn
from components.data.normalize import extra, question_messages, text

ACCEPTS = "text or sentence + label"


def readings(columns: Collection[str]) -> list[Columns]:
    """A text, by one of its names, and the label; beside a conversation only by the surest names."""
    is_alone = {"text", "content"}.issuperset(single_turn(columns)) and not any(c in columns for c in CONVERSATIONS)
    names = ("text", "content", "sentence") if is_alone else ("text", "content")
    labels = [name for name in CLASSES if name in columns and (is_alone or name == "label")][:1]
    return [(name, label) for name in names for label in labels if name in columns]


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """The text as a user's message, and every other column in `extra`, the label among them."""
    return {"prompt": question_messages(raw, text(raw, columns[0]))} | extra(raw, columns[0])
