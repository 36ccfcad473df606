"""A content-addressed cache of results: equal inputs are not worked on twice, whatever the run folder.

    made_of = {"rows": "5f1c…", "max_length": 2048, "code": "9a07…"}
    if (result := restore("template", made_of, {"tokens": folder})) is None:
        result = …                                           # the work, which writes `folder`
        keep("template", made_of, {"tokens": folder}, result)

An entry is a sealed folder named after the hash of `made_of`, the values that decide the result. Its files are hard
links to those of the run folders where the file system allows. Each file is hashed before it is restored; an entry with
a changed file is removed. Of two writers of the same entry the first wins. A killed writer leaves a temporary folder,
which `prune` removes.
"""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from components.files import MANIFEST, is_complete, is_intact, read_json, remove, seal, sha256, sha256_of

_TEMPORARY = ".tmp"
_WRITER_TIMEOUT_S = 3600.0
"""Seconds after which an incomplete entry counts as left by a killed writer."""


class Entry(NamedTuple):
    """One cached result: `used` is the time of its last store or restore (seconds since 1970), `size` its bytes."""

    stage: str
    folder: Path
    made_of: dict[str, Any]
    result: Any
    used: float
    size: int


def root() -> Path:
    """Return the folder of the cache: `$MARTLET_CACHE`, or `martlet` in the user's cache folder."""
    if folder := os.environ.get("MARTLET_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "martlet"


def code(*modules: str) -> str:
    """Return one hex sha256 over the source files of modules and packages, such as `components.data`, with all files
    below a package."""
    hashes: dict[str, str] = {}
    for name in modules:
        origin = find_spec(name).origin  # type: ignore[union-attr]
        file = Path(origin)  # type: ignore[arg-type]
        files = file.parent.rglob("*") if file.name == "__init__.py" else [file]
        hashes |= {
            f"{name}/{path.relative_to(file.parent)}": sha256(path)
            for path in files
            if path.is_file() and path.suffix != ".pyc"
        }
    return sha256_of(hashes)


def code_files(*patterns: str) -> dict[str, str]:
    """Return the hex sha256 by path of the source files that match patterns such as `components/training/*.py`."""
    root = Path(__file__).parents[1]
    files = sorted({file for pattern in patterns for file in root.glob(pattern)})
    return {file.relative_to(root).as_posix(): sha256(file) for file in files}


def versions(*libraries: str) -> dict[str, str]:
    """Return the installed versions of libraries."""
    return {library: metadata.version(library) for library in libraries}


def restore(stage: str, made_of: Mapping[str, Any], outs: Mapping[str, Path]) -> Any | None:
    """Write the files of the entry for `made_of` to the paths `outs`, replacing what is there, and return the entry's
    result; None without an entry."""
    folder = _folder(stage, made_of)
    if not (is_intact(folder) and _is_entry(folder) and all((folder / name).exists() for name in outs)):
        remove(folder)
        return None
    manifest = read_json(folder / MANIFEST)
    for name, target in outs.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}{_TEMPORARY}")
        remove(temporary)
        _link(folder / name, temporary)
        remove(target)
        temporary.rename(target)
    with suppress(OSError):  # a read-only cache
        os.utime(folder / MANIFEST)
    return manifest["result"]


def keep(stage: str, made_of: Mapping[str, Any], outs: Mapping[str, Path], result: Any) -> None:
    """Store the files or folders `outs` and a JSON-able `result` as the entry for `made_of`."""
    folder = _folder(stage, made_of)
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}{_TEMPORARY}")
    remove(temporary)
    temporary.mkdir(parents=True)
    try:
        for name, source in outs.items():
            _link(source, temporary / name)
        seal(temporary, stage=stage, made_of=dict(made_of), result=result)
        if not _is_entry(folder):
            remove(folder)
            with suppress(OSError):  # another writer was first, with the same content
                temporary.rename(folder)
    finally:
        remove(temporary)


def entries() -> Iterator[Entry]:
    """Yield all complete entries, the most recently used first."""
    folders = [path for path in root().glob("*/*") if path.suffix != _TEMPORARY and _is_entry(path)]
    for folder in sorted(folders, key=lambda path: (path / MANIFEST).stat().st_mtime, reverse=True):
        manifest = read_json(folder / MANIFEST)
        size = sum(file["size"] for file in manifest["files"].values())
        used = (folder / MANIFEST).stat().st_mtime
        yield Entry(manifest["stage"], folder, manifest["made_of"], manifest["result"], used, size)


def prune(unused_for: float = 0.0) -> list[Path]:
    """Remove entries unused for `unused_for` seconds, and temporary folders of killed writers; return the folders."""
    now, removed = time.time(), []
    complete = {entry.folder: entry.used for entry in entries()}
    for folder in root().glob("*/*"):
        used = complete.get(folder, folder.stat().st_mtime + _WRITER_TIMEOUT_S)
        if now - used >= unused_for and (folder in complete or now >= used):
            remove(folder)
            removed += [] if folder.exists() else [folder]
    return removed


def _is_entry(folder: Path) -> bool:
    """Return whether `folder` is complete, with a manifest as `keep` writes it."""
    return is_complete(folder) and {"stage", "made_of", "result"} <= read_json(folder / MANIFEST).keys()


def _folder(stage: str, made_of: Mapping[str, Any]) -> Path:
    return root() / stage / sha256_of([stage, made_of])[:32]


def _link(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_file)
    else:
        _link_file(source, target)


def _link_file(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, target)
