"""Files and folders that are complete or absent: written beside their place, flushed, renamed; the manifest last."""

import hashlib
import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.errors import ConfigError

MANIFEST = "manifest.json"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Yield a temporary sibling of `path`; on a clean exit flush it and rename it over `path`.

    The parent folder is made. On an error the temporary file is removed and `path` is untouched.

    Raises:
        ConfigError: `path` is a folder, or its parent cannot be made.
    """
    _make_parent(path)
    if path.is_dir():
        raise ConfigError(f"{path} cannot be written: it is a folder; name a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _make_parent(path: Path) -> None:
    """Make the folder that `path` is to lie in.

    Raises:
        ConfigError: there is a file in its place, or the system has no such folders.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, FileNotFoundError) as error:
        raise ConfigError(f"{path} cannot be written: {path.parent} is no folder and cannot be made one") from error


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically; equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def append_jsonl(path: Path, value: dict[str, Any]) -> None:
    """Append one JSON line in a single write, so that a reader never sees half a line."""
    line = json.dumps(value, ensure_ascii=False) + "\n"
    with path.open("a", encoding="utf-8") as stream:
        stream.write(line)


@contextmanager
def replacing_folder(path: Path, **manifest: Any) -> Generator[Path]:
    """Yield an empty temporary folder; on a clean exit seal it with a manifest and rename it to `path`.

    An existing `path` is replaced. On an error nothing of the new folder is left and `path` is untouched.

    Raises:
        ConfigError: the parent of `path` cannot be made.
    """
    _make_parent(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        seal(temporary, **manifest)
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
        _sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders that killed writers left below `folder`, which no other process writes."""
    for path in sorted(folder.rglob(".*.tmp")):
        remove(path)


def remove_leftovers_of(path: Path) -> None:
    """Remove the temporary siblings that killed writers of `path` left, which no other process writes."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        remove(leftover)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def move_entries(source: Path, target: Path) -> None:
    """Move what lies in the folders of `source` into the folders of `target` of the same names, replacing entries, and
    remove `source`."""
    for entry in sorted(source.glob("*/*")):
        place = target / entry.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        remove(place)
        entry.rename(place)
    remove(source)


def seal(folder: Path, **extra: Any) -> dict[str, Any]:
    """Write `manifest.json` (size and sha256 of every file, plus `extra`) as the last file of `folder`, and return its
    content."""
    (folder / MANIFEST).unlink(missing_ok=True)
    files: dict[str, Any] = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
        files[file.relative_to(folder).as_posix()] = {"size": file.stat().st_size, "sha256": sha256(file)}
    manifest: dict[str, Any] = {**extra, "files": files}
    write_json(folder / MANIFEST, manifest)
    return manifest


def is_complete(folder: Path) -> bool:
    """Return whether `folder` has a manifest that lists files, and each of them has its recorded size."""
    try:
        return all((folder / name).stat().st_size == entry["size"] for name, entry in _listed(folder).items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def is_intact(folder: Path) -> bool:
    """Return whether `folder` is complete and each file in its manifest has its recorded sha256."""
    try:
        return is_complete(folder) and all(
            sha256(folder / name) == entry["sha256"] for name, entry in _listed(folder).items()
        )
    except (OSError, KeyError):
        return False


def changed_files(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Return the names of the files with these suffixes that are in `folder` and are not as its manifest says.

    A manifest of another shape, or one that lists nothing, is itself such a file; a folder without one has none.
    """
    if not (folder / MANIFEST).is_file():
        return []
    try:
        listed = {name: entry["sha256"] for name, entry in _listed(folder).items() if name.endswith(suffixes)}
    except (ValueError, KeyError, TypeError):
        return [MANIFEST]
    return [name for name, sha in listed.items() if (folder / name).is_file() and sha256(folder / name) != sha]


def _listed(folder: Path) -> dict[str, Any]:
    """Return the entries of a folder's manifest by file.

    Raises:
        OSError, ValueError, KeyError, TypeError: there is no manifest, it has another shape, or it lists nothing.
    """
    files = read_json(folder / MANIFEST)["files"]
    if not (isinstance(files, dict) and files):
        raise ValueError(f"{folder / MANIFEST} lists no files")
    return files


def sha256(path: Path) -> str:
    """Return the hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of(value: Any) -> str:
    """Return the hex sha256 of a JSON-able value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def sha256_tree(folder: Path) -> str:
    """Return one hex sha256 over the names and bytes of all files below `folder` but hidden ones, manifests and
    Python's caches."""
    entries = {
        file.relative_to(folder).as_posix(): sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        and file.name != MANIFEST
        and not any(part.startswith(".") or part == "__pycache__" for part in file.relative_to(folder).parts)
    }
    return sha256_of(entries)
