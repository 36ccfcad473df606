"""The list of the files that media of rows were made of, and whether they are still what they were."""

from pathlib import Path
from typing import Any

from components.data.media.memo import Hashes
from components.files import read_json

LIST = "media.json"
"""Name of the list beside the rows: `{files: {path: sha256}, kept: [name], missing: [path], failed: [URL]}`."""


def is_current(raw: Path, folder: Path, memo: Path) -> bool:
    """Return whether no medium of the rows in `raw` has changed, gone or come since they were written.

    A download that failed is to be tried again.

    Args:
        folder: of media that are kept.
        memo: file of the hashes computed before.
    """
    listed = _listed(raw)
    if listed is None:
        return True
    return not listed["failed"] and not changed(raw, folder, memo)


def changed(raw: Path, folder: Path, memo: Path) -> list[str]:
    """Return the paths of media that have changed, gone or come since the rows in `raw` were written."""
    listed = _listed(raw)
    if listed is None:
        return []
    hashes = Hashes(memo)
    paths = [path for path, sha in listed["files"].items() if not _is(hashes, Path(path), sha)]
    hashes.save()
    paths += [name for name in listed["kept"] if not (folder / name).is_file()]
    return paths + [path for path in listed["missing"] if Path(path).is_file()]


def _listed(raw: Path) -> dict[str, Any] | None:
    return read_json(raw / LIST) if (raw / LIST).is_file() else None


def _is(hashes: Hashes, path: Path, sha: str) -> bool:
    try:
        return hashes.sha256(path) == sha
    except OSError:
        return False
