"""Tab-separated values with a header."""

from collections.abc import Iterator
from typing import BinaryIO

from components.data.readers import csv
from components.data.readers._faults import Faults

SUFFIXES = (".tsv",)


def rows(file: BinaryIO, faults: Faults) -> Iterator[tuple[int, dict[str, str], None]]:
    """Yield the records, as in CSV."""
    return csv.rows(file, faults, delimiter="\t")
