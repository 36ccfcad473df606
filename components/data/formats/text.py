"""Plain text for pre-training, in a column of its own."""

from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats._columns import CONVERSATIONS, LABELS, OUTPUTS, Columns, single_turn
from components.data.normalize import CARRIED, SYSTEMS, text

ACCEPTS = "text alone"
_NAMES = ("text", "content", "response")
_OTHERS = (*CONVERSATIONS, *LABELS, *OUTPUTS, "chosen", "rejected")
_BESIDE_RESPONSE = {"response", *CARRIED, *SYSTEMS, "_", "id", "index", "source", "url"}


def readings(columns: Collection[str]) -> list[Columns]:
    """`text` or `content`, or `response` as ms-swift's own pre-training sets have it, if nothing else is known.

    A label beside a text is what a classifier learns, and another column beside a response may well be the question.
    """
    names = [name for name in _NAMES if name in columns]
    alone = len(single_turn(columns)) == len(names) and not any(name in columns for name in _OTHERS)
    if names == ["response"] and any(name not in _BESIDE_RESPONSE for name in columns):
        return []
    return [(name,) for name in names] if alone else []


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """The text."""
    return {"text": text(raw, columns[0])}
