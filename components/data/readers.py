"""Files of rows: one function for each kind, all giving `(number, row)` with the number a person looks for.

The number is the line in JSONL and CSV (the header is line 1), and the record, from 1, in JSON and Parquet. What is
wrong with a file is said in one message: the first fault with its place, and how many more there are.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from components.errors import DataGateError

Row = dict[str, Any]
_BOM = b"\xef\xbb\xbf"


def read(path: Path, name: str) -> Iterator[tuple[int, Row]]:
    """Yield the numbered rows of a file; `name` is what the user calls it.

    Raises:
        DataGateError: not UTF-8, malformed, or a row that is no object; after the last good row has been given.
    """
    faults = _Faults(name)
    yield from READERS[path.suffix.lower()](path, faults)
    faults.stop()


class _Faults:
    """The first fault of a file, and a count of the others."""

    def __init__(self, name: str) -> None:
        self.name, self.first, self.count = name, "", 0

    def add(self, number: int, reason: str) -> None:
        self.first = self.first or f"{self.name}:{number}: {reason}"
        self.count += 1

    def stop(self) -> None:
        if self.count:
            others = self.count - 1
            more = f"; {others} more {'row is' if others == 1 else 'rows are'} malformed" if others else ""
            raise DataGateError(f"{self.first}{more}; mend the file and run again")

    def is_object(self, number: int, row: Any) -> bool:
        if not isinstance(row, dict):
            self.add(number, f"a row must be an object {{…}}, not {_kind(row)}")
        return isinstance(row, dict)


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _refuse_encoding(name: str, error: UnicodeDecodeError, offset: int = 0, line: int | None = None) -> NoReturn:
    place = f"{name}:{line}" if line else name
    byte = error.object[error.start]
    raise DataGateError(
        f"{place}: not UTF-8: byte 0x{byte:02x} at offset {offset + error.start}; convert the file to UTF-8"
    )


def _jsonl(path: Path, faults: _Faults) -> Iterator[tuple[int, Row]]:
    import orjson

    offset = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            text = line.removeprefix(_BOM) if number == 1 else line
            try:
                if text.strip():
                    row = orjson.loads(text)
                    if faults.is_object(number, row):
                        yield number, row
            except orjson.JSONDecodeError as error:
                try:
                    text.decode()
                except UnicodeDecodeError as encoding:
                    _refuse_encoding(faults.name, encoding, offset + len(line) - len(text), number)
                faults.add(number, f"not JSON: {error.msg} (column {error.colno}): {_excerpt(text, error.pos)}")
            offset += len(line)


def _excerpt(text: bytes, position: int) -> str:
    """The text round a fault, on one line."""
    around = text.decode()[max(0, position - 30) : position + 30]
    return repr(around.strip())


def _json(path: Path, faults: _Faults) -> Iterator[tuple[int, Row]]:
    import orjson

    content = path.read_bytes().removeprefix(_BOM)
    if not content.strip():
        return
    try:
        rows = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        if _is_jsonl(content):
            yield from _jsonl(path, faults)
            return
        try:
            content.decode()
        except UnicodeDecodeError as encoding:
            _refuse_encoding(faults.name, encoding)
        faults.add(error.lineno, f"not JSON: {error.msg} (column {error.colno}): {_excerpt(content, error.pos)}")
        return
    if not isinstance(rows, list):
        keys = f" with the keys {', '.join(list(rows)[:5])}" if isinstance(rows, dict) else ""
        kind = "an object" if isinstance(rows, dict) else _kind(rows)
        raise DataGateError(f"{faults.name}: holds {kind}{keys}; a JSON dataset is a list of rows: [{{…}}, …]")
    for number, row in enumerate(rows, 1):
        if faults.is_object(number, row):
            yield number, row


def _is_jsonl(content: bytes) -> bool:
    """JSON Lines under the name .json: the first line is an object of its own."""
    import orjson

    try:
        return isinstance(orjson.loads(content.lstrip().partition(b"\n")[0]), dict)
    except orjson.JSONDecodeError:
        return False


def _csv(path: Path, faults: _Faults) -> Iterator[tuple[int, Row]]:
    import csv
    import io

    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as encoding:
        _refuse_encoding(faults.name, encoding)
    csv.field_size_limit(2**31 - 1)
    records = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        header: list[str] = next(records, [])
        if len(set(header)) < len(header):
            faults.add(1, f"two columns have the same name: {', '.join(header)}")
            return
        line = records.line_num + 1
        for cells in records:
            if len(cells) == len(header):
                yield line, dict(zip(header, cells, strict=True))
            elif cells:
                faults.add(line, f"{len(cells)} cells where the header has {len(header)}")
            line = records.line_num + 1
    except csv.Error as error:
        faults.add(line, f"not CSV: {error}")


def _parquet(path: Path, faults: _Faults) -> Iterator[tuple[int, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        batches = pq.ParquetFile(path).iter_batches(batch_size=8192)
        yield from enumerate(chain.from_iterable(batch.to_pylist() for batch in batches), 1)
    except (pa.ArrowException, OSError) as error:
        raise DataGateError(f"{faults.name}: not a Parquet file that can be read: {error}") from error


READERS: dict[str, Callable[[Path, _Faults], Iterator[tuple[int, Row]]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
