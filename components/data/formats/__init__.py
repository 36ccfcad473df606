"""The shapes a row may come in, one file each, recognised by themselves.

A format is a module with `ACCEPTS` (how its rows look, for people), `matches(row)` and `read(row)`, which gives the
row's messages and raises ValueError with what is wrong with a value.
"""

import importlib
import pkgutil
from functools import cache
from types import ModuleType
from typing import Any

from components import rows
from components.data.turns import Message

__all__ = ["Message", "to_messages", "to_row"]

_NOT_READ = ("tools", "images", "videos", "audios", "objects", "rejected_response")


@cache
def formats() -> dict[str, ModuleType]:
    """Every format by name."""
    names = (info.name for info in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}


def to_row(raw: dict[str, Any]) -> rows.Row:
    """Convert a row in any known format to the canonical row.

    Raises:
        ValueError: no format fits, several do, or a value has the wrong type; says which keys were found.
    """
    return {"messages": to_messages(raw)}


def to_messages(row: dict[str, Any]) -> list[Message]:
    """Convert a row in any known format to messages of role and content.

    Raises:
        ValueError: no format fits, several do, or a value has the wrong type; says which keys were found.
    """
    matching = [module for module in formats().values() if module.matches(row)]
    if len(matching) != 1:
        keys = ", ".join(row) or "none"
        if matching:
            readings = " or ".join(module.ACCEPTS for module in matching)
            raise ValueError(f"can be read in two ways, as {readings} (its keys: {keys})")
        accepted = ", ".join(module.ACCEPTS for module in formats().values())
        raise ValueError(f"no known format: its keys are {keys}; accepted are {accepted}")
    for key in _NOT_READ:
        if row.get(key):
            raise ValueError(f"holds '{key}', which would be lost: only the text of a conversation is learned")
    return matching[0].read(row)
