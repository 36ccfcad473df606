"""Files of rows: one module for each kind, all giving `(number, row, written)`.

A module has `rows(file, faults)`: the rows of an open binary file, one at a time in memory. `number` is what a person
looks for: the line in JSONL, CSV and text (the header of a CSV is line 1), the record, from 1, elsewhere. `written` is
the row as it stands in the file where that is JSON, else None. What is wrong with a file is said in one message: the
first fault with its place, and how many more there are.
"""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from components.data.readers._faults import Faults
from components.data.readers._files import COMPRESSIONS, opened

Numbered = tuple[int, dict[str, Any], bytes | None]

KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "txt",
    ".zip": "zip",
}
"""The module of each kind of file, the preferred one first where the same rows are offered in several."""


def kind_of(name: str) -> str | None:
    """The suffix in `KINDS` that says how a file is read, compression aside (`.jsonl` of `a.jsonl.gz`); or None."""
    path = PurePath(name.lower())
    suffix = PurePath(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix
    return suffix if suffix in KINDS else None


def read(path: Path, name: str, tell: Callable[[int, str], None] | None = None) -> Iterator[Numbered]:
    """Yield the numbered rows of a file; `name` is what the user calls it.

    A malformed row is told with its number and the reason, if `tell` is given, and passed over.

    Raises:
        DataGateError: not UTF-8, malformed, a row that is no object or too long, an archive that is damaged or expands
            beyond measure; some after the last good row has been given.
    """
    with opened(path, name) as file:
        yield from rows_of(file, path.name, Faults(name, tell))


def rows_of(file: BinaryIO, file_name: str, faults: Faults) -> Iterator[Numbered]:
    """The rows of an open file, read as its name says."""
    module = importlib.import_module(f"{__name__}.{KINDS[kind_of(file_name) or '.jsonl']}")
    yield from module.rows(file, faults)
    faults.stop()
