"""What a hub says is in a repository, and what is taken of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class File(NamedTuple):
    """A file of a repository: its size in bytes, and the sha256 of its bytes or else git's hash of it as a blob."""

    name: str
    size: int
    sha256: str | None = None
    blob: str | None = None


class Repository(NamedTuple):
    """The files of a repository at one commit."""

    commit: str
    files: list[File]


@dataclass(frozen=True)
class Snapshot:
    """The files of rows of one repository at one commit, in the client's cache."""

    files: list[Path]
    revision: str
    licence: str | None
