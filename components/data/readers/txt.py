"""Plain text: each line is a row `{"text": …}`; blank lines are passed over."""

from collections.abc import Iterator
from typing import BinaryIO

from components.data.readers._faults import Faults
from components.data.readers._files import texts

SUFFIXES = (".txt",)


def rows(file: BinaryIO, faults: Faults) -> Iterator[tuple[int, dict[str, str], None]]:
    """Yield the lines without their ends."""
    for number, line in enumerate(texts(file, faults), 1):
        if line.strip():
            yield number, {"text": line.rstrip("\r\n")}, None
