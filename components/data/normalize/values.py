"""Values of a row with their types checked; each error is one short sentence."""

import ast
import json
import reprlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NoReturn

from components.data.exact_json import loads

_KINDS = {
    str: "a text",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    **dict.fromkeys((int, float, Decimal), "a number"),
}
_QUOTE = reprlib.Repr()
_QUOTE.maxlevel, _QUOTE.maxdict, _QUOTE.maxlist, _QUOTE.maxstring, _QUOTE.maxother = 2, 3, 3, 60, 60


def describe(value: Any) -> str:
    """Return the type and a short quote of a value, for people: `a number (3)`."""
    if value is None:
        return "null"
    quote = value if isinstance(value, Decimal) else _QUOTE.repr(value)
    return f"{_KINDS.get(type(value), type(value).__name__)} ({quote})"


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
    if not isinstance(value, str):
        return value
    try:
        return loads(value)
    except ValueError:
        pass
    try:  # through JSON, which has no tuples, sets or bytes
        return loads(json.dumps(ast.literal_eval(value)))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"{name} is a text that is not JSON: {_QUOTE.repr(value)}") from None


def writable(value: Any, name: str) -> Any:
    """Return the value, unless it cannot be kept as JSON: lone surrogates, more than 250 levels, numbers that 64 bits
    do not hold exactly.

    Raises:
        ValueError: the value cannot be kept.
    """
    json_of(value, name, _refuse)
    return value


def json_of(value: Any, name: str, default: Callable[[Any], Any]) -> str:
    """Return a value as JSON; `default` gives what stands for a Decimal, a number that 64 bits do not hold exactly.

    Raises:
        ValueError: the value cannot be kept.
    """
    import orjson

    try:
        return orjson.dumps(value, default=default).decode()
    except TypeError as error:
        raise ValueError(f"{name} cannot be kept as JSON: {error.__cause__ or error}") from None


def literal(number: Any) -> Any:
    """Return a Decimal for `json_of`, to be written as it stands."""
    import orjson

    return orjson.Fragment(str(number))


def integer(number: Any) -> Any:
    """Return an integer as `literal` does.

    Raises:
        TypeError: a fraction, which whoever reads the JSON would round.
    """
    return literal(number) if str(number).lstrip("-").isdigit() else _refuse(number)


def _refuse(number: Any) -> NoReturn:
    raise TypeError(f"the number {number} has more digits than 64 bits hold; write it as a text, or with fewer digits")
