"""Formats: the shapes that a row may come in, one file each, recognised by their columns.

A format is a module that fulfils `Format`. A reading is a group of columns that a format reads together. A reading with
all the columns of another, and more, is the better one: `prompt`, `chosen` and `rejected` are a preference, not a
prompt. Where two readings each have a column that the other lacks, the row is ambiguous.
"""

from collections.abc import Callable, Collection
from functools import cache, lru_cache
from typing import Any, NamedTuple, Protocol

from components import rows
from components.data.exact_json import loads
from components.data.formats._advice import advice
from components.data.formats._columns import Columns
from components.data.normalize import CARRIED, carry, describe, key_list
from components.plugins import Kind

__all__ = ["FORMATS", "Format", "read_row", "to_row", "unread"]

_ANSWERLESS = ("prompt", "text", "pairs")


class Format(Protocol):
    """A format of rows.

    Attributes:
        ACCEPTS: the columns of its rows, for people.
    """

    ACCEPTS: str

    def readings(self, columns: Collection[str]) -> list[Columns]:
        """Return the groups of columns that could be read together."""
        ...

    def read(self, raw: dict[str, Any], columns: Columns) -> rows.Row:
        """Return the canonical row of a raw row, from one group of its columns.

        Raises:
            ValueError: a value is wrong; says which and why.
        """
        ...


FORMATS = Kind("format", "columns", "components.data.formats", Format, "-")


class _Reading(NamedTuple):
    read: Callable[[dict[str, Any], tuple[str, ...]], rows.Row]
    columns: tuple[str, ...]
    carried: tuple[str, ...] = ()
    answers: bool = True


@cache
def formats() -> dict[str, Format]:
    """Return every format by name."""
    return {name: FORMATS.load(name) for name in FORMATS.names()}


def read_row(raw: str | bytes) -> rows.Row:
    """Return the canonical row of a raw row's JSON.

    Raises:
        ValueError: as `to_row`; (orjson.JSONDecodeError) the text is not JSON.
    """
    return to_row(loads(raw))


def to_row(raw: dict[str, Any]) -> rows.Row:
    """Return the canonical row of a raw row in any known format; both may share parts.

    A null or empty column counts as absent, save where it is the answer to a question.

    Raises:
        ValueError: no format fits, several do, or a value is of the wrong type; says which and where.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"a row must be an object, not {describe(raw)}")
    filled = tuple([name for name, value in raw.items() if value or value == 0])
    present = filled if len(filled) == len(raw) else tuple([name for name in raw if raw[name] is not None])
    reading = _best(filled, present)
    try:
        row = reading.read(raw, reading.columns)
        if reading.carried:
            carry(raw, reading.carried, row)
    except UnicodeEncodeError as error:
        raise ValueError(f"holds a lone surrogate, half of a character: {describe(error.object)}") from None
    return row


def unread(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a raw row with a value that its format does not read.

    Raises:
        ValueError: as `to_row`.
    """
    filled = {name: value for name, value in raw.items() if value or value == 0}
    reading = _best(tuple(filled), tuple(name for name in raw if raw[name] is not None))
    return {name: value for name, value in filled.items() if name not in (*reading.columns, *reading.carried)}


@lru_cache(4096)
def _best(filled: tuple[str, ...], present: tuple[str, ...]) -> _Reading:
    """Return the best reading of a row.

    Args:
        filled: columns with a value that is not empty.
        present: columns whose value is not null.
    """
    readings = _readings(filled)
    if filled != present and not any(reading.answers for reading in readings):
        wider = _readings(present)
        if not readings or (len(wider) == 1 and {*readings[0].columns} < {*wider[0].columns}):
            readings = wider
    if len(readings) == 1:
        return readings[0]._replace(carried=tuple(name for name in filled if name in CARRIED))
    lowered = {name.lower() for name in present}
    if not readings and len(lowered) == len(present) and lowered != {*present}:
        return _Reading(_read_lowered, ())
    if readings:
        ways = " or as ".join(" + ".join(reading.columns) for reading in readings)
        raise ValueError(f"can be read as {ways}: leave all but one out, by renaming the others to _ with --columns")
    if told := advice(present):
        raise ValueError(f"no known format: its keys with a value are {key_list(present)}; {told}")
    accepted = ", ".join(module.ACCEPTS for module in formats().values())
    raise ValueError(f"no known format: its keys with a value are {key_list(present)}; accepted are {accepted}")


def _readings(columns: tuple[str, ...]) -> list[_Reading]:
    """Return the readings of these columns, without those that another reading contains."""
    candidates = [
        _Reading(module.read, group, answers=name not in _ANSWERLESS)
        for name, module in formats().items()
        for group in module.readings(frozenset(columns))
    ]
    return [one for one in candidates if not any({*one.columns} < {*other.columns} for other in candidates)]


def _read_lowered(raw: dict[str, Any], _: tuple[str, ...]) -> rows.Row:
    """Return the canonical row of a raw row whose columns are in other cases, as ms-swift does."""
    return to_row({name.lower(): value for name, value in raw.items() if value is not None})
