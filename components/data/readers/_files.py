"""Open files, plain or compressed, and cut them into lines; memory stays bounded whatever is in them."""

import io
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from components.data.readers._faults import Faults
from components.errors import DataGateError

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
ROW_MAX_BYTES = 32 << 20
EXPANDED_MAX_BYTES = 1 << 30
EXPANDED_MAX_RATIO = 200
"""A compressed file may expand to EXPANDED_MAX_BYTES, or to EXPANDED_MAX_RATIO times its size if that is more."""
BUFFER_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"


@contextmanager
def opened(path: Path, name: str) -> Generator[BinaryIO]:
    """Open a file for reading from its start to its end; what is compressed is expanded on the way.

    Raises:
        DataGateError: (while reading) a compressed file that is damaged, cut short, or expands beyond measure.
    """
    with path.open("rb", BUFFER_BYTES) as file:
        codec = COMPRESSIONS.get(path.suffix.lower())
        if codec is None:
            yield file
            return
        import pyarrow as pa

        budget = Budget(name, path.stat().st_size)
        yield expanding(cast(IO[bytes], pa.CompressedInputStream(pa.PythonFile(file, "r"), codec)), budget)


class Budget:
    """The bytes that a compressed file may still expand to."""

    def __init__(self, name: str, compressed: int) -> None:
        self.name = name
        self.limit = self.remaining = max(EXPANDED_MAX_BYTES, EXPANDED_MAX_RATIO * compressed)

    def spend(self, size: int) -> None:
        """Take `size` bytes from the budget.

        Raises:
            DataGateError: the file expands beyond measure.
        """
        self.remaining -= size
        if self.remaining < 0:
            raise DataGateError(
                f"{self.name}: expands to more than {self.limit:,} bytes, over {EXPANDED_MAX_RATIO} times its size, as "
                "archives made to fill a disk do; expand it yourself and name the file if it is sound"
            )


def expanding(inner: IO[bytes], budget: Budget) -> BinaryIO:
    """Return a buffered stream over an expanding one; it spends from `budget` and explains what is damaged."""
    return io.BufferedReader(_Expanding(inner, budget), BUFFER_BYTES)


class _Expanding(io.RawIOBase):
    def __init__(self, inner: IO[bytes], budget: Budget) -> None:
        self.inner, self.budget = inner, budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        import zlib

        try:
            block = self.inner.read(len(buffer))
        except (OSError, EOFError, zlib.error, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise DataGateError(
                f"{self.budget.name}: cannot be expanded ({reason}): it is damaged or cut short; fetch or make it again"
            ) from error
        self.budget.spend(len(block))
        buffer[: len(block)] = block
        return len(block)


def seekable(file: BinaryIO) -> BinaryIO:
    """Return `file`, or an unnamed copy on the disk where the file can only be read from start to end."""
    if file.seekable():
        return file
    import shutil
    import tempfile

    copy = tempfile.TemporaryFile()  # noqa: SIM115
    shutil.copyfileobj(file, copy, BUFFER_BYTES)
    copy.seek(0)
    return cast(BinaryIO, copy)


def lines(file: BinaryIO, faults: Faults, first: int = 1) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file, numbered, their ends included; a byte order mark is left out.

    A line ends with LF or CR LF; with CR alone where there is no LF.

    Raises:
        DataGateError: a line is longer than ROW_MAX_BYTES.
    """
    number = first
    while line := file.readline(ROW_MAX_BYTES + 1):
        if len(line) > ROW_MAX_BYTES:
            faults.refuse(number, f"the line is longer than {ROW_MAX_BYTES:,} bytes, the most that one row may have")
        if number == 1:
            line = line.removeprefix(BOM)
        if line.endswith(b"\n") or b"\r" not in line:
            yield number, line
            number += 1
        else:
            parts = line.splitlines(keepends=True)
            yield from enumerate(parts, number)
            number += len(parts)


def texts(file: BinaryIO, faults: Faults) -> Iterator[str]:
    """Yield the lines of a file as texts.

    Raises:
        DataGateError: a line is longer than ROW_MAX_BYTES, or not UTF-8.
    """
    for number, line in lines(file, faults):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            faults.not_utf8(number, line[error.start], f"column {error.start + 1}")
