"""Datasets that code makes: `rows()` of a user's file, or of a module that a package offers. Martlet brings none.

Only files of `--external_plugins` and modules of installed packages are run; a Python file among the files of a dataset
never is.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any, Protocol

from components.data.exact_json import plain
from components.data.readers import Faults, NumberedRow
from components.data.readers.jsonl import objects
from components.errors import ConfigError
from components.plugins import Kind


class DatasetMethod(Protocol):
    """What the file of a dataset defines."""

    rows: Callable[..., Iterable[dict[str, Any]]]
    """`rows()` returns the rows of the dataset, each a dict in any known format of rows; `rows(subset)` those of the
    subset that `NAME:SUBSET` names. It is called once for each time that the dataset is named, and has to end."""


DATASETS = Kind("dataset", "dataset", __name__, DatasetMethod)


def calls(subsets: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the arguments of each call of `rows` that together give the rows of `subsets`."""
    return [(subset,) for subset in subsets] or [()]


def require_subsets(spec: str, method: DatasetMethod, subsets: Sequence[str], file: Path) -> None:
    """Check that `rows` can be called for each of `subsets`.

    Raises:
        ConfigError: it takes other arguments, or is no function.
    """
    if not callable(method.rows):
        raise ConfigError(f"{file}: not a dataset: `rows` is no function, but a {type(method.rows).__name__}")
    signature = inspect.signature(method.rows)
    for arguments in calls(subsets):
        try:
            signature.bind(*arguments)
        except TypeError:
            call = f"rows({', '.join(map(repr, arguments))})"
            advice = "leave the subset out" if arguments else "name a subset, NAME:SUBSET, or give it a default"
            raise ConfigError(
                f"dataset '{spec}': asks for {call}, and {file.name} defines rows{signature}; {advice}"
            ) from None


def rows_of(method: DatasetMethod, subsets: Sequence[str], faults: Faults) -> Iterator[NumberedRow]:
    """Yield the rows of a dataset as those of a JSONL file, numbered from 1 over all of `subsets`; rows that are no
    objects of JSON go to `faults`.

    Raises:
        ConfigError: `rows` returns nothing to iterate over.
    """
    yield from objects(_lines(method, subsets, faults), faults)
    faults.stop()


def _lines(method: DatasetMethod, subsets: Sequence[str], faults: Faults) -> Iterator[tuple[int, bytes]]:
    import orjson

    number = 0
    for arguments in calls(subsets):
        rows = method.rows(*arguments)
        if not (hasattr(rows, "__iter__") or hasattr(rows, "__getitem__")):
            raise ConfigError(
                f"dataset '{faults.name}': `rows` yields dicts, or returns a list of them, not {rows!r:.80}"
            )
        for number, row in enumerate(rows, number + 1):  # noqa: B020
            try:
                line = orjson.dumps(row, default=_plain)
            except TypeError as error:
                faults.add(number, f"cannot be written as JSON: {error}")
                continue
            yield number, line


def _plain(value: Any) -> Any:
    """Return a value for which JSON has no type as one for which it has."""
    if hasattr(value, "tolist"):  # of NumPy, pandas, torch
        return value.tolist()
    if isinstance(value, bytes | Decimal | PurePath | date | time | timedelta):  # dates of a class of pandas'
        return plain(value)
    raise TypeError  # which orjson tells with the name of the value's type
