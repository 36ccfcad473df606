"""Code for the datasets whose rows a renaming does not do: one function each, from the hub's row to a readable one.

An entry names its function: `converter: preferences.hh_rlhf`. A function takes the row after `columns` and `constants`,
does not change it, and returns one that `components.data.formats` reads, or None to leave the row out. What it cannot
read may raise: the row then goes to the formats as it is.
"""

import ast
import re
import zlib
from collections.abc import Sequence
from typing import Any

Raw = dict[str, Any]


def chat(query: str, response: str, **beside: Any) -> Raw:
    """One question and its answer as a canonical row, with what stands beside."""
    messages = [{"role": "user", "content": query}, {"role": "assistant", "content": response}]
    return {"messages": messages} | {name: value for name, value in beside.items() if value is not None}


def pick(options: Sequence[str], text: str) -> str:
    """One of the options, always the same one for the same text."""
    return options[zlib.crc32(text.encode()) % len(options)]


def first(value: Any) -> Any:
    """The first of several answers; a single one as it is."""
    return value[0] if isinstance(value, list) else value


def literal(value: Any) -> Any:
    """A list that was written as Python prints it, also without the commas that NumPy leaves out between objects."""
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(re.sub(r"\}\s*\{", "},{", value))
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError("a text that is no Python literal") from error
