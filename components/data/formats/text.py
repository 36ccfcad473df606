"""Plain text for pre-training, in a column of its own."""

from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats._columns import CONVERSATIONS, Columns, single_turn
from components.data.normalize import text

ACCEPTS = "text alone"
_NAMES = ("text", "content", "response")
_OTHERS = (*CONVERSATIONS, "chosen", "rejected")


def readings(columns: Collection[str]) -> list[Columns]:
    """`text` or `content`, or `response` as ms-swift's own pre-training sets have it, if nothing else is known."""
    names = [name for name in _NAMES if name in columns]
    alone = len(single_turn(columns)) == len(names) and not any(name in columns for name in _OTHERS)
    return [(name,) for name in names] if alone else []


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """The text."""
    return {"text": text(raw, columns[0])}
