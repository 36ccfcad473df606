"""Single values of a row with their types checked; what is wrong is said in one sentence, and short."""

import ast
import reprlib
from typing import Any

_KINDS = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
_QUOTE = reprlib.Repr()
_QUOTE.maxlevel, _QUOTE.maxdict, _QUOTE.maxlist, _QUOTE.maxstring, _QUOTE.maxother = 2, 3, 3, 60, 60


def describe(value: Any) -> str:
    """What a value is, for people: `a number (3)`."""
    return "null" if value is None else f"{_KINDS.get(type(value), type(value).__name__)} ({_QUOTE.repr(value)})"


def key_list(keys: Any, most: int = 20) -> str:
    """Keys, for people; those that cannot be printed are escaped."""
    shown = [key if key.isprintable() and len(key) <= 60 else _QUOTE.repr(key) for key in list(keys)[:most]]
    return ", ".join([*shown, *(["…"] if len(keys) > most else [])]) or "none"


def text(row: dict[str, Any], key: str, where: str = "") -> str:
    """`row[key]`, which must be a text; absent or null is the empty one.

    Args:
        where: what the key belongs to, when it is not a column.

    Raises:
        ValueError: naming the key and what was found; UnicodeEncodeError, which is one, for a lone surrogate.
    """
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        name = f"the {key} of {where}" if where else f"'{key}'"
        raise ValueError(f"{name} must be a text, not {describe(value)}")
    return utf8(value)


def utf8(value: str) -> str:
    """The text, which UTF-8 knows: UnicodeEncodeError, a ValueError, says that it holds a lone surrogate."""
    if not value.isascii():
        value.encode()
    return value


def from_json(value: Any, name: str) -> Any:
    """A value that may be written as JSON, or as a Python literal, as tables of texts (CSV) have to.

    Raises:
        ValueError: a text that is neither.
    """
    import orjson

    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except ValueError:
        pass
    try:  # through JSON, which has no tuples, sets or bytes
        return orjson.loads(orjson.dumps(ast.literal_eval(value)))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"{name} is a text that is not JSON: {_QUOTE.repr(value)}") from None


def writable(value: Any, name: str) -> Any:
    """The value, which can be written as JSON: no lone surrogates, no integer over 64 bits, no more than 250 levels.

    Raises:
        ValueError: naming the value.
    """
    import orjson

    try:
        orjson.dumps(value)
    except TypeError as error:
        raise ValueError(f"{name} cannot be kept as JSON: {error}") from None
    return value
