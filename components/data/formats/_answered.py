"""The formats whose rows are a conversation with an answer, which other columns may say something about."""

from collections.abc import Collection
from functools import lru_cache
from types import ModuleType
from typing import Any

from components import rows
from components.data.formats import alpaca, messages, prompt_completion, query_response
from components.data.formats._columns import Columns

_FORMATS = (messages, alpaca, prompt_completion, query_response)


def readings(columns: Collection[str]) -> list[Columns]:
    """The groups of columns that any of them reads."""
    return [group for module in _FORMATS for group in module.readings(columns)]


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """The row's conversation, in `messages`, and its media.

    Raises:
        ValueError: as the format, and when nothing in it is an answer.
    """
    row = conversation(raw, columns)
    if "messages" not in row:
        raise ValueError(f"'{columns[0]}' asks, but holds no answer to judge")
    return row


def conversation(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """The row's conversation, in `messages`, or in `prompt` where nothing in it is an answer, and its media; raises as
    the format."""
    row = _format(columns).read(raw, columns)
    return {name: value for name, value in row.items() if name != "extra"}


@lru_cache(1024)
def _format(columns: Columns) -> ModuleType:
    return next(module for module in _FORMATS if columns in module.readings(columns))
