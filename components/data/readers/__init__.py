"""Readers: one file for each kind of data file.

A reader is a module that fulfils `Reader`: rows of an open binary file, one at a time in memory. A row comes with its
number, which is what a person looks for: the line in JSONL, CSV and text (the header of a CSV is line 1), the record,
from 1, elsewhere. The faults of a file are one message: the first with its place, and how many more there are.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Protocol

from components.data.readers import _folders
from components.data.readers._faults import Faults
from components.data.readers._files import COMPRESSIONS, opened, texts
from components.plugins import Kind

NumberedRow = tuple[int, dict[str, Any], bytes | None]
"""A row's number, the row, and its text in the file where that is JSON."""


class Reader(Protocol):
    """A reader of one kind of file.

    Attributes:
        SUFFIXES: the endings of such files' names.
    """

    SUFFIXES: tuple[str, ...]

    def rows(self, file: BinaryIO, faults: Faults) -> Iterator[NumberedRow]:
        """Yield the rows of an open file; malformed rows go to `faults`.

        Raises:
            DataGateError: the file cannot be read on.
        """
        ...


READERS = Kind("reader", "dataset", "components.data.readers", Reader)
_PREFERRED = (".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".csv", ".tsv", ".txt", ".zip", ".tar")


@cache
def _readers() -> dict[str, Reader]:
    """Return the reader of each suffix, the preferred one first where the same rows come in several kinds of files."""
    readers = [READERS.load(name) for name in READERS.names()]
    by_suffix = {suffix: reader for reader in readers for suffix in reader.SUFFIXES}
    return {suffix: by_suffix[suffix] for suffix in (*_PREFERRED, *(by_suffix.keys() - {*_PREFERRED}))}


def suffixes() -> list[str]:
    """Return the suffixes of all files that are read, the preferred one first."""
    return list(_readers())


def kind_of(name: str) -> str | None:
    """Return the suffix that decides how a file is read, compression aside (`.jsonl` of `a.jsonl.gz`), or None."""
    path = PurePath(name.lower())
    suffix = PurePath(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix
    return suffix if suffix in _readers() else None


def read(path: Path, name: str, on_fault: Callable[[int, str], None] | None = None) -> Iterator[NumberedRow]:
    """Yield the numbered rows of a file.

    Args:
        name: what the user calls the file.
        on_fault: called with the number and the reason of each malformed row, which is then skipped; without it, a
            malformed row is an error.

    Raises:
        DataGateError: not UTF-8, malformed, a row that is no object or too long, an archive that is damaged or expands
            beyond measure; possibly after good rows.
    """
    medium = _folders.medium_beside(path)
    with opened(path, name) as file:
        if medium:
            yield 1, _folders.captioned(medium, "".join(texts(file, Faults(name, on_fault)))), None
            return
        rows = rows_of(file, path.name, Faults(name, on_fault))
        yield from _folders.with_media(rows) if PurePath(name).stem == _folders.METADATA else rows


def rows_of(file: BinaryIO, file_name: str, faults: Faults) -> Iterator[NumberedRow]:
    """Yield the rows of an open file, read by the kind that its name says."""
    yield from _readers()[kind_of(file_name) or ".jsonl"].rows(file, faults)
    faults.stop()
