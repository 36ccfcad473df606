"""A text and its class: Hugging Face's sets for text classification (https://huggingface.co/docs/datasets)."""

from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats._columns import Columns
from components.data.normalize import extra, question_messages, text

ACCEPTS = "text + label"


def readings(columns: Collection[str]) -> list[Columns]:
    """A text, by one of its names, and the label."""
    return [(name, "label") for name in ("text", "content") if name in columns and "label" in columns]


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """The text as a user's message, and every other column in `extra`, the label among them."""
    return {"prompt": question_messages(raw, text(raw, columns[0]))} | extra(raw, columns[0])
