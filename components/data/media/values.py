"""What a value in a column of media stands for: bytes, or the address of a file."""

import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from components.media import COLUMNS, suffix_of
from components.rows import Row

ADDRESSES = ("path", "url", "file_name")
"""Keys of an object that name a file, the surest first."""
_BASE64 = re.compile(r"[A-Za-z0-9+/_\s-]+={0,2}\s*")
_BASE64_MIN_CHARS = 64
_DATA_URL = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)


def content_or_address(value: Any) -> bytes | str:
    """Return the bytes that a value holds, or the path or URL that it is.

    A value is an address, a data URL, base64 of a file that is known by its first bytes, or an object with `bytes` or
    an address (as `datasets` writes them).

    Raises:
        ValueError: it is nothing of these; says why.
    """
    if isinstance(value, dict):
        if value.get("bytes"):
            return _bytes(value["bytes"])
        value = next((value[key] for key in ADDRESSES if value.get(key)), None)
        if value is None:
            raise ValueError("an object without bytes, path or url")
    if not isinstance(value, str) or not value.strip():
        raise ValueError("no address" if isinstance(value, str) else "a list, which only a video's frames may be")
    if value[:5].lower() == "data:":
        return _of_data_url(value)
    if value[:5].lower() == "file:":
        return unquote(urlsplit(value).path)
    if len(value) >= _BASE64_MIN_CHARS and (data := _of_base64(value)) and suffix_of(data):
        return data
    return value


def _bytes(value: Any) -> bytes:
    """Return bytes that are base64, or a text where they happen to be UTF-8, as `exact_json.dumps` writes them."""
    if not isinstance(value, str):
        raise ValueError("its bytes are no text in base64")
    data = _of_base64(value)
    return value.encode() if data is None else data


def _of_base64(value: str) -> bytes | None:
    if not _BASE64.fullmatch(value):
        return None
    text = "".join(value.split()).rstrip("=")
    if len(text) % 4 == 1:
        return None
    return b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))


def _of_data_url(value: str) -> bytes:
    match = _DATA_URL.match(value)
    if match is None:
        raise ValueError("a data URL without a comma before its data")
    body = value[match.end() :]
    if ";base64" not in match[2].lower():
        return unquote_to_bytes(body)
    data = _of_base64(unquote(body))
    if data is None:
        raise ValueError("a data URL whose data are no base64")
    return data


def paths_in(row: Row) -> Iterator[str]:
    """Yield the paths by which a row names its media."""
    return (one for one in _addresses(row) if not is_url(one))


def urls_in(row: Row) -> Iterator[str]:
    """Yield the URLs by which a row names its media."""
    return filter(is_url, _addresses(row))


def _addresses(row: Row) -> Iterator[str]:
    for name in COLUMNS.values():
        for value in row.get(name) or ():
            for one in value if isinstance(value, list) else [value]:
                try:
                    source = content_or_address(one)
                except ValueError:
                    continue
                if isinstance(source, str):
                    yield source


def is_url(address: str) -> bool:
    """Return whether an address is a URL of the web."""
    return address[:8].lower().startswith(("http://", "https://"))
