"""JSON Lines: an object on each line; blank lines are passed over."""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from components.data.readers._faults import Faults, excerpt
from components.data.readers._files import lines

SUFFIXES = (".jsonl", ".ndjson")


def rows(file: BinaryIO, faults: Faults) -> Iterator[tuple[int, dict[str, Any], bytes]]:
    """Yield the object of each line, and the line."""
    return objects(lines(file, faults), faults)


def objects(numbered: Iterable[tuple[int, bytes]], faults: Faults) -> Iterator[tuple[int, dict[str, Any], bytes]]:
    """Yield the object of each numbered line, and the line."""
    import orjson

    for number, line in numbered:
        text = line.strip()
        if not text:
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            try:
                line.decode()
            except UnicodeDecodeError as encoding:
                faults.not_utf8(number, line[encoding.start], f"column {encoding.start + 1}")
            where = f"{error.msg} (column {error.colno}): {excerpt(error.doc, error.pos)}"
            faults.add(number, f"not JSON: {where}")
        else:
            if faults.is_object(number, row):
                yield number, row, text
