"""A zip archive: the rows of its files, one after the other. Nothing is unpacked onto the disk.

An archive with a member that would lie outside of it when unpacked (`..`, an absolute name, a link) is refused.
"""

import stat
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from components.data import readers
from components.data.readers._faults import Faults
from components.data.readers._files import Budget, expanding, seekable
from components.errors import DataGateError

if TYPE_CHECKING:
    import zipfile

SUFFIXES = (".zip",)


def rows(file: BinaryIO, faults: Faults) -> Iterator[tuple[int, dict[str, Any], bytes | None]]:
    """Yield the rows of all members of a kind that is read, numbered through from 1."""
    import zipfile

    source = seekable(file)
    size = source.seek(0, 2)
    try:
        archive = zipfile.ZipFile(source)
        members = [member for member in archive.infolist() if _is_rows(member, faults)]
        if not members:
            raise DataGateError(f"{faults.name}: holds no file of rows ({', '.join(readers.suffixes())})")
        number, budget = 0, Budget(faults.name, size)
        for member in members:
            name = f"{faults.name}/{member.filename}"
            with archive.open(member) as inner:
                rows = readers.rows_of(expanding(inner, budget), member.filename, Faults(name, faults.on_fault))
                for number, (_, row, text) in enumerate(rows, number + 1):  # noqa: B020
                    yield number, row, text
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError, EOFError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataGateError(f"{faults.name}: not a zip archive that can be read: {reason}") from error


def _is_rows(member: "zipfile.ZipInfo", faults: Faults) -> bool:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    outside = path.is_absolute() or ".." in path.parts or stat.S_ISLNK(member.external_attr >> 16)
    if outside:
        raise DataGateError(f"{faults.name}: its member '{member.filename}' leads out of the archive; it is not read")
    if member.flag_bits & 1:
        raise DataGateError(f"{faults.name}: is locked with a password; unpack it and name what is in it")
    kind = readers.kind_of(path.name)
    return not member.is_dir() and kind not in (None, ".zip") and not path.name.startswith(("._", "__MACOSX"))
