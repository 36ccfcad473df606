"""The shapes a row may come in, one file each, recognised by themselves.

A format is a module with `ACCEPTS` (how its rows look, for people), `readings(columns)`, which gives the groups of
columns that it could read together, and `read(raw, columns)`, which gives the canonical row from one such group and
raises ValueError with what is wrong with a value.

A reading that takes in all the columns of another, and more, is the better one: `prompt`, `chosen` and `rejected` are a
preference, not a prompt. Where two readings each take in a column that the other leaves, the row is ambiguous.
"""

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache, lru_cache
from types import ModuleType
from typing import Any, NamedTuple

from components import rows
from components.data.turns import CARRIED, carry, found, named

__all__ = ["to_row"]

_ANSWERLESS = ("prompt", "text")


class _Reading(NamedTuple):
    read: Callable[[dict[str, Any], tuple[str, ...]], rows.Row]
    columns: tuple[str, ...]
    carried: tuple[str, ...] = ()
    answers: bool = True


@cache
def formats() -> dict[str, ModuleType]:
    """Every format by name."""
    names = (info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}


def to_row(raw: dict[str, Any]) -> rows.Row:
    """The canonical row of a raw one in any known format; it may share its parts with the raw one.

    A null or empty column counts as absent, save where it is the answer to a question.

    Raises:
        ValueError: no format fits, several do, or a value is of the wrong type; says what was found and where.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"a row must be an object, not {found(raw)}")
    filled = tuple([name for name, value in raw.items() if value or value == 0])
    present = filled if len(filled) == len(raw) else tuple([name for name in raw if raw[name] is not None])
    reading = _best(filled, present)
    try:
        row = reading.read(raw, reading.columns)
        if reading.carried:
            carry(raw, reading.carried, row)
    except UnicodeEncodeError as error:
        raise ValueError(f"holds a lone surrogate, half of a character: {found(error.object)}") from None
    return row


@lru_cache(4096)
def _best(filled: tuple[str, ...], present: tuple[str, ...]) -> _Reading:
    """The reading of a row by its columns: those that say something, and those that are there at all."""
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
    accepted = ", ".join(module.ACCEPTS for module in formats().values())
    raise ValueError(f"no known format: its keys with a value are {named(present)}; accepted are {accepted}")


def _readings(columns: tuple[str, ...]) -> list[_Reading]:
    """What the formats see in these columns, without what another sees more of."""
    fitting = [
        _Reading(module.read, group, answers=name not in _ANSWERLESS)
        for name, module in formats().items()
        for group in module.readings(frozenset(columns))
    ]
    return [one for one in fitting if not any({*one.columns} < {*other.columns} for other in fitting)]


def _read_lowered(raw: dict[str, Any], _: tuple[str, ...]) -> rows.Row:
    """ms-swift knows columns whatever their case."""
    return to_row({name.lower(): value for name, value in raw.items() if value is not None})
