"""Comma-separated values with a header; blank lines are passed over."""

from collections.abc import Iterator
from typing import BinaryIO

from components.data.readers import _files
from components.data.readers._faults import Faults

SUFFIXES = (".csv",)


def rows(file: BinaryIO, faults: Faults, delimiter: str = ",") -> Iterator[tuple[int, dict[str, str], None]]:
    """Yield the records, each by the header's names, numbered by the line on which it begins; every cell is a text."""
    import csv

    csv.field_size_limit(_files.ROW_MAX_BYTES)
    records = csv.reader(_files.texts(file, faults), strict=True, delimiter=delimiter)
    line = 1
    try:
        header: list[str] = next((cells for cells in records if cells), [])
        if len(set(header)) < len(header):
            faults.refuse(records.line_num, f"two columns have the same name: {', '.join(header)}")
        line = records.line_num + 1
        for cells in records:
            if cells and len(cells) == len(header):
                yield line, dict(zip(header, cells, strict=True)), None
            elif cells:
                faults.add(line, f"{len(cells)} cells where the header has {len(header)}")
            line = records.line_num + 1
    except csv.Error as error:
        faults.refuse(line, f"not CSV: {error}")
