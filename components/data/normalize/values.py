"""Values of a row with their types checked; each error is one short sentence."""

import ast
import reprlib
from typing import Any

_KINDS = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
_QUOTE = reprlib.Repr()
_QUOTE.maxlevel, _QUOTE.maxdict, _QUOTE.maxlist, _QUOTE.maxstring, _QUOTE.maxother = 2, 3, 3, 60, 60


def describe(value: Any) -> str:
    """Return the type and a short quote of a value, for people: `a number (3)`."""
    return "null" if value is None else f"{_KINDS.get(type(value), type(value).__name__)} ({_QUOTE.repr(value)})"


def key_list(keys: Any, most: int = 20) -> str:
    """Return a list of keys, for people; keys that cannot be printed are escaped."""
    names = [key if key.isprintable() and len(key) <= 60 else _QUOTE.repr(key) for key in list(keys)[:most]]
    return ", ".join([*names, *(["…"] if len(keys) > most else [])]) or "none"


def text(row: dict[str, Any], key: str, where: str = "") -> str:
    """Return the text `row[key]`; absent or null is the empty text.

    Args:
        where: what the key belongs to, when it is not a column.

    Raises:
        ValueError: the value is no text, or (UnicodeEncodeError) holds a lone surrogate.
    """
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        name = f"the {key} of {where}" if where else f"'{key}'"
        raise ValueError(f"{name} must be a text, not {describe(value)}")
    return utf8(value)


def utf8(value: str) -> str:
    """Return the text, unless UTF-8 cannot write it.

    Raises:
        UnicodeEncodeError: (a ValueError) the text holds a lone surrogate.
    """
    if not value.isascii():
        value.encode()
    return value


def from_json(value: Any, name: str) -> Any:
    """Return a value that may be JSON or a Python literal in a text, as it is in tables of texts (CSV).

    Raises:
        ValueError: the text is neither.
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
    """Return the value, unless JSON cannot hold it: lone surrogates, integers over 64 bits, more than 250 levels.

    Raises:
        ValueError: JSON cannot hold the value.
    """
    import orjson

    try:
        orjson.dumps(value)
    except TypeError as error:
        raise ValueError(f"{name} cannot be kept as JSON: {error}") from None
    return value
