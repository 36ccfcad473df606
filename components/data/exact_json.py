"""JSON whose numbers stay as they are written.

orjson makes floats of integers beyond 64 bits and of decimal fractions with more digits than a float holds. Here such a
number is a Decimal. `normalize` writes it out where the row's text has it, and refuses the row elsewhere.
"""

import json
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any

_CLASSES = bytes(ord("0" if chr(c) in "0123456789." else "e" if chr(c) in "eE" else " ") for c in range(256))
"""Translates digits and points to 0, the letter of an exponent to e."""
_SURE_DIGITS = 15
"""Decimal digits that a float always holds."""
_UNROUNDED = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])


def loads(raw: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        orjson.JSONDecodeError: (a ValueError) the text is not JSON.
    """
    import orjson

    return exact(orjson.loads(raw), raw)


def exact(value: Any, raw: str | bytes) -> Any:
    """Return the value of the JSON `raw`, with Decimals for the numbers that orjson changed in reading `value`."""
    if not _has_float(value) or not _may_have_changed(raw):
        return value
    try:
        return json.loads(raw, parse_int=_integer, parse_float=_fraction)
    except RecursionError:  # deeper than any row that is accepted
        return value


def dumps(value: Any) -> bytes:
    """Return a value as JSON; what JSON has no type for is a text: bytes as UTF-8 or else base64, others by `str`.

    Raises:
        TypeError: a lone surrogate, more than 250 levels.
    """
    import orjson

    return orjson.dumps(value, default=plain)


def _has_float(value: Any) -> bool:
    values = [value]
    for inner in values:  # grows
        kind = type(inner)
        if kind is float:
            return True
        if kind is dict:
            values.extend(inner.values())
        elif kind is list:
            values.extend(inner)
    return False


def _may_have_changed(raw: str | bytes) -> bool:
    """Return whether a text may hold a number that a float does not: many digits in a row, or a large exponent."""
    classes = (raw.encode() if isinstance(raw, str) else raw).translate(_CLASSES, b"+-")
    return b"0" * (_SURE_DIGITS + 1) in classes or b"e000" in classes


def _integer(digits: str) -> int | Decimal:
    number = int(digits) if len(digits) <= 20 else None
    return number if number is not None and -(1 << 63) <= number < 1 << 64 else Decimal(digits)


def _fraction(digits: str) -> float | Decimal:
    number = _UNROUNDED.create_decimal(digits)
    rounded = float(digits)
    return rounded if Decimal(repr(rounded)) == number else number


def plain(value: Any) -> Any:
    """Return a value that JSON has no type for as a text, a Decimal as the number that it is."""
    import orjson

    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(str(value))
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        from base64 import b64encode

        return b64encode(value).decode()
