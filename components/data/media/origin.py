"""Where the media of a dataset's rows may lie."""

import posixpath
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from components.hub import Repository


class Origin(NamedTuple):
    """Where a row's media may lie.

    Attributes:
        folder: of the row's file.
        archive: the file itself, where it is an archive whose members media may be.
        repository: of the file, where it is of a hub: its rows' media are files of the repository, or lie in
            `--root_image_dir`, and nowhere else.
    """

    folder: Path
    archive: Path | None = None
    repository: "Repository | None" = None

    def in_repository(self, name: str) -> str | None:
        """Return the name in the repository of what a row calls `name`: beside the row's file, or from the top."""
        assert self.repository
        beside = PurePosixPath(self.folder.relative_to(self.repository.folder.absolute()).as_posix())
        names = (posixpath.normpath(beside / name), posixpath.normpath(name))
        return next((one for one in names if one in self.repository.files), None)
