"""Folders that an export is written into: new ones, or on demand those of earlier exports, which are replaced."""

from collections.abc import Iterable
from pathlib import Path

from components.errors import ConfigError
from components.files import MANIFEST, is_complete, read_json

MARKS = ("merge.json", "quantize.json", "Modelfile")
"""Files of which every export has one."""


def require_writable(folder: Path, exist_ok: bool, sources: Iterable[Path]) -> None:
    """Check that an export may be written into `folder`, an absolute path.

    Args:
        exist_ok: the folder may be that of an earlier export, which is replaced.
        sources: folders that the export is made of.

    Raises:
        ConfigError: the folder lies inside of one that is sealed; it is there and may not be replaced, is no earlier
            export, holds files that no export wrote, or is or holds a source or the current folder.
    """
    require_outside(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    for kept in (*(source.resolve() for source in sources), Path.cwd()):
        if folder == kept or folder in kept.parents:
            raise ConfigError(f"--output_dir {folder}: {kept} would be removed; name another folder")
    if not exist_ok:
        raise ConfigError(
            f"{folder} is there already: remove it, name another with --output_dir, or replace it with --exist_ok true"
        )
    if not (is_complete(folder) and any((folder / mark).is_file() for mark in MARKS)):
        raise ConfigError(f"--exist_ok: {folder} is no earlier export; remove it, or name another with --output_dir")
    written = {MANIFEST, *read_json(folder / MANIFEST)["files"]}
    others = (file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*")) if not file.is_dir())
    if other := next((name for name in others if name not in written), None):
        raise ConfigError(f"--exist_ok: {folder / other} was not written by an export; move it away")


def require_outside(folder: Path) -> None:
    """Raise ConfigError if a folder that is about to be written lies inside of one that is sealed."""
    if sealed := next((parent for parent in folder.resolve().parents if (parent / MANIFEST).is_file()), None):
        raise ConfigError(f"--output_dir {folder}: the files of {sealed} are sealed; name a folder outside of it")
