"""A tar archive in the way of WebDataset: members of one name are a row, told apart by their suffixes.

`0001.jpg` and `0001.txt` are a picture and its caption, `0001.json` has columns, `0001.cls` a class. Nothing is
unpacked onto the disk; members of other kinds are passed over. (https://github.com/webdataset/webdataset)
"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from components.data.exact_json import loads
from components.data.readers._faults import Faults, kind_of_value
from components.errors import DataGateError
from components.media import COLUMNS, kind_of

if TYPE_CHECKING:
    import tarfile

SUFFIXES = (".tar",)
MEMBER_MAX_BYTES = 512 << 20


def rows(file: BinaryIO, faults: Faults) -> Iterator[tuple[int, dict[str, Any], None]]:
    """Yield the rows, numbered from 1."""
    import tarfile

    number = 0
    try:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            members = (member for member in archive if member.isfile() and not _stem(member.name)[1].startswith("."))
            for _, group in groupby(members, lambda member: _stem(member.name)):
                parts = [(member.name, _content(archive, member, faults)) for member in group]
                number += 1
                try:
                    row = _row(parts)
                except ValueError as error:
                    faults.add(number, str(error))
                    continue
                if row:
                    yield number, row, None
    except (tarfile.TarError, OSError, EOFError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataGateError(f"{faults.name}: not a tar archive that can be read: {reason}") from error
    if not number:
        raise DataGateError(f"{faults.name}: holds no members such as 0001.jpg and 0001.txt or 0001.json (WebDataset)")


def _stem(name: str) -> tuple[str, str]:
    """Return a member's folder, and its name up to the first point."""
    path = PurePosixPath(name)
    return str(path.parent), path.name[:1] + path.name[1:].partition(".")[0]


def _content(archive: "tarfile.TarFile", member: "tarfile.TarInfo", faults: Faults) -> bytes:
    if member.size > MEMBER_MAX_BYTES:
        raise DataGateError(
            f"{faults.name}: its member '{member.name}' has more than {MEMBER_MAX_BYTES:,} bytes; unpack the archive"
        )
    opened = archive.extractfile(member)
    return opened.read() if opened else b""


def _row(parts: list[tuple[str, bytes]]) -> dict[str, Any]:
    """Return the row of the members of one name; {} where none of them is of a kind that is read.

    Raises:
        ValueError: a text that is not UTF-8, JSON that is none or no object, a class that is no number.
    """
    row: dict[str, Any] = {}
    media: dict[str, list[Any]] = {}
    for name, content in parts:
        suffix = PurePosixPath(name).suffix.lower()
        if kind := kind_of(name):
            media.setdefault(COLUMNS[kind], []).append({"bytes": content, "path": PurePosixPath(name).name})
        elif suffix == ".json":
            columns = _json(name, content)
            row = columns | row
        elif suffix in (".txt", ".cls"):
            text = _text(name, content).strip()
            row["text" if suffix == ".txt" else "label"] = int(text) if suffix == ".cls" and text.isdigit() else text
    return row | media


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError(f"the member '{name}' is not UTF-8") from None


def _json(name: str, content: bytes) -> dict[str, Any]:
    try:
        columns = loads(content)
    except ValueError as error:
        raise ValueError(f"the member '{name}' is not JSON: {error}") from None
    if not isinstance(columns, dict):
        raise ValueError(f"the member '{name}' must be an object, not {kind_of_value(columns)}")
    return columns
