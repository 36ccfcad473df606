"""Results of earlier work, kept by what they were made of: same parts, no work, from any run folder.

    made_of = {"rows": "5f1c…", "max_length": 2048, "code": "9a07…"}
    if (result := restore("template", made_of, {"tokens": folder})) is None:
        result = …                                           # the work, which writes `folder`
        keep("template", made_of, {"tokens": folder}, result)

An entry is a sealed folder named after the hash of its parts. Its files share their bytes with the run folders (hard
links where the file system allows), and each is hashed before it is handed out: one that was changed in place is no
longer an entry. Two writers of the same entry write the same; the second keeps the first's. A writer that is killed
leaves a temporary folder, which `prune` removes.
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

from components.files import MANIFEST, is_complete, read_json, seal, sha256, sha256_of

_TEMPORARY = ".tmp"


class Entry(NamedTuple):
    """One kept result: `used` is when it was last written or taken (seconds since the epoch), `size` in bytes."""

    stage: str
    folder: Path
    made_of: dict[str, Any]
    result: Any
    used: float
    size: int


def root() -> Path:
    """Where results are kept: `$MARTLET_CACHE`, or `martlet` in the user's cache folder."""
    if chosen := os.environ.get("MARTLET_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "martlet"


def code(*modules: str) -> str:
    """Return the hex sha256 over the source files of these modules and packages, named with dots, and of all below
    them: a change of code is a change."""
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
    """Return the hex sha256 of each source file that these patterns match, such as `components/training/*.py`."""
    root = Path(__file__).parents[1]
    files = sorted({file for pattern in patterns for file in root.glob(pattern)})
    return {file.relative_to(root).as_posix(): sha256(file) for file in files}


def versions(*libraries: str) -> dict[str, str]:
    """The installed versions of these libraries."""
    return {library: metadata.version(library) for library in libraries}


def restore(stage: str, made_of: Mapping[str, Any], outs: Mapping[str, Path]) -> Any | None:
    """Put what was kept for these parts at the paths `outs` and return its result; None when nothing was.

    What lies at these paths is replaced.
    """
    folder = _folder(stage, made_of)
    if not is_complete(folder):
        return None
    manifest = read_json(folder / MANIFEST)
    if any(sha256(folder / name) != file["sha256"] for name, file in manifest["files"].items()):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    for name, target in outs.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}{_TEMPORARY}")
        _remove(temporary)
        _link(folder / name, temporary)
        _remove(target)
        temporary.rename(target)
    with suppress(OSError):  # a cache that may only be read
        os.utime(folder / MANIFEST)
    return manifest["result"]


def keep(stage: str, made_of: Mapping[str, Any], outs: Mapping[str, Path], result: Any) -> None:
    """Keep the files or folders `outs` and a JSON-able `result` for these parts."""
    folder = _folder(stage, made_of)
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}{_TEMPORARY}")
    _remove(temporary)
    temporary.mkdir(parents=True)
    try:
        for name, source in outs.items():
            _link(source, temporary / name)
        seal(temporary, stage=stage, made_of=dict(made_of), result=result)
        if not is_complete(folder):
            _remove(folder)
            with suppress(OSError):  # another writer was quicker, with the same content
                temporary.rename(folder)
    finally:
        _remove(temporary)


def entries() -> Iterator[Entry]:
    """All complete entries, the one used last first."""
    found = [path for path in root().glob("*/*") if path.suffix != _TEMPORARY and is_complete(path)]
    for folder in sorted(found, key=lambda path: (path / MANIFEST).stat().st_mtime, reverse=True):
        manifest = read_json(folder / MANIFEST)
        size = sum(file["size"] for file in manifest["files"].values())
        used = (folder / MANIFEST).stat().st_mtime
        yield Entry(manifest["stage"], folder, manifest["made_of"], manifest["result"], used, size)


def prune(unused_for: float = 0.0) -> list[Path]:
    """Remove entries not used for so many seconds, and what killed writers left; return what was removed."""
    now, removed = time.time(), []
    complete = {entry.folder: entry.used for entry in entries()}
    for folder in root().glob("*/*"):
        # A writer may be at work in a folder that is not complete.
        used = complete.get(folder, folder.stat().st_mtime + 3600)
        if now - used >= unused_for and (folder in complete or now >= used):
            _remove(folder)
            removed += [] if folder.exists() else [folder]
    return removed


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


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
