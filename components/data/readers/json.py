"""A JSON list of objects, read a piece at a time; JSON Lines under the name .json are read as such."""

from collections.abc import Iterator
from itertools import chain
from json import JSONDecoder
from typing import Any, BinaryIO, NamedTuple, NoReturn

from components.data.exact_json import loads
from components.data.readers import _files, jsonl
from components.data.readers._faults import Faults, excerpt, kind_of_value
from components.errors import DataGateError

SUFFIXES = (".json",)
PIECE_BYTES = 1 << 20
"""Bytes that are read at a time."""
NumberedRow = tuple[int, dict[str, Any], bytes | None]


class _Location(NamedTuple):
    """The beginning of a buffer in the file: its line, from 1, and its byte, from 0."""

    line: int
    byte: int

    def behind(self, text: bytes) -> "_Location":
        return _Location(self.line + text.count(b"\n"), self.byte + len(text))


def rows(file: BinaryIO, faults: Faults) -> Iterator[NumberedRow]:
    """Yield the objects of the list, numbered from 1."""
    location, head = _Location(1, 0), file.readline(PIECE_BYTES)
    if head.startswith(_files.BOM):
        location, head = _Location(1, len(_files.BOM)), head.removeprefix(_files.BOM)
    while head and not head.strip():
        location, head = location.behind(head), file.readline(PIECE_BYTES)
    if head.lstrip().startswith(b"["):
        opening = head.index(b"[") + 1
        yield from _elements(file, head[opening:], location.behind(head[:opening]), faults)
    elif head:
        yield from _lines(file, head, location, faults)


def _lines(file: BinaryIO, head: bytes, location: _Location, faults: Faults) -> Iterator[NumberedRow]:
    """Yield the rows of JSON Lines, where the first line is an object of its own and others follow."""
    import orjson

    if not head.endswith(b"\n"):
        head += file.readline(_files.ROW_MAX_BYTES)
    numbered = _files.lines(file, faults, location.line + 1)
    following = ((number, text) for number, text in numbered if text.strip())
    if _is_object(head) and (second := next(following, None)):
        yield from jsonl.objects(chain([(location.line, head), second], following), faults)
        return
    content = head + file.read(_files.ROW_MAX_BYTES)
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        _malformed(content, error, location, faults)
    keys = f" with the keys {', '.join(list(value)[:5])}" if isinstance(value, dict) else ""
    kind = kind_of_value(value)
    raise DataGateError(f"{faults.name}: holds {kind}{keys}; a JSON dataset is a list of rows: [{{…}}, …]")


def _is_object(text: bytes) -> bool:
    import orjson

    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def _elements(file: BinaryIO, buffer: bytes, location: _Location, faults: Faults) -> Iterator[NumberedRow]:
    """Yield the elements behind the opening bracket, a piece at a time that ends behind an element."""
    import orjson

    number, between, size, ended = 0, b"", PIECE_BYTES, False
    while not ended:
        piece = file.read(size)
        ended = len(piece) < size
        buffer += piece
        try:
            if ended:
                stop, rows = len(buffer), loads(b"[" + buffer)
            else:
                stop, rows = _front(buffer, between)
        except orjson.JSONDecodeError as error:
            _malformed(buffer, error, location, faults)
        if not stop:
            if len(buffer) > _files.ROW_MAX_BYTES:
                _too_long(buffer, number, location, faults)
                return
            size = len(buffer)  # doubled each time, so that a long row costs no more than its length
            continue
        for number, row in enumerate(rows, number + 1):  # noqa: B020
            if faults.is_object(number, row):
                yield number, row, None
        if not ended:
            between = between or _between(buffer, stop)
            after = buffer.index(b",", stop) + 1
            location, buffer, size = location.behind(buffer[:after]), buffer[after:], PIECE_BYTES


def _front(buffer: bytes, between: bytes) -> tuple[int, list[Any]]:
    """Return the offset where the last whole element of `buffer` ends (0: none does), and the elements up to there.

    The text that stood `between` two elements before, up to the first key of the second, mostly does so again.

    Raises:
        orjson.JSONDecodeError: an element is malformed.
    """
    import orjson

    stop = buffer.rfind(between) if between else 0
    if stop > 0:
        try:
            return stop, loads(b"[" + buffer[:stop] + b"]")
        except orjson.JSONDecodeError:
            pass  # that was inside an element
    stop = _scan(buffer)
    return stop, loads(b"[" + buffer[:stop] + b"]") if stop else []


def _scan(buffer: bytes) -> int:
    """Return the offset where the last element that another follows ends, decoding one element at a time."""
    text = buffer.decode(errors="surrogateescape")
    decode = JSONDecoder().raw_decode
    stop, start = 0, _past_space(text, 0)
    try:
        while True:
            end = decode(text, start)[1]
            comma = _past_space(text, end)
            start = _past_space(text, comma + 1)
            if text[comma : comma + 1] != "," or text[start : start + 1] in ("", "]"):
                break
            stop = end
    except (ValueError, RecursionError):
        pass  # cut off, or a fault that the caller comes upon
    return len(text[:stop].encode(errors="surrogateescape"))


def _past_space(text: str, start: int) -> int:
    while text[start : start + 1] in (" ", "\t", "\n", "\r"):
        start += 1
    return start


def _between(buffer: bytes, stop: int) -> bytes:
    """Return the text from the end of an element to behind the first key of the next; empty where there is no key."""
    key = buffer.find(b'"', stop)
    end = buffer.find(b'"', key + 1)
    return buffer[stop : end + 1] if 0 < key < end else b""


def _malformed(buffer: bytes, error: Any, location: _Location, faults: Faults) -> NoReturn:
    """Refuse a file for an error of the JSON in `buffer`, which begins at `location`."""
    try:
        buffer.decode()
    except UnicodeDecodeError as encoding:
        if encoding.reason != "unexpected end of data":
            at = location.behind(buffer[: encoding.start])
            faults.not_utf8(at.line, buffer[encoding.start], f"byte {at.byte + 1:,} of the file")
    at = location.behind(error.doc[: error.pos].encode(errors="surrogatepass"))
    faults.refuse(
        at.line, f"not JSON: {error.msg} (near byte {at.byte:,} of the file): {excerpt(error.doc, error.pos)}"
    )


def _too_long(buffer: bytes, number: int, location: _Location, faults: Faults) -> None:
    """Refuse a file in whose buffer, longer than a row may be, no element ends: for a fault, or for the length."""
    import orjson

    try:
        orjson.loads(b"[" + buffer)
    except orjson.JSONDecodeError as error:
        if error.pos < len(error.doc) - 100:
            _malformed(buffer, error, location, faults)
    faults.refuse(number + 1, f"the row is longer than {_files.ROW_MAX_BYTES:,} bytes, the most that one row may have")
