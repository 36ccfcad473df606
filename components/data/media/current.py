"""The list of the files that media of rows were made of, and whether they are still what they were."""

from pathlib import Path
from typing import Any

from components.data.media.memo import Hashes
from components.files import read_json
from components.media import Medium

LIST = "media.json"
"""Name of the list beside the rows: `{found: [[kind, path, sha256]], missing: [path], failed: [URL]}`."""


def is_current(raw: Path, folder: Path, memo: Path) -> bool:
    """Return whether no medium of the rows in `raw` has changed, gone or come since they were written.

    A download that failed is to be tried again.

    Args:
        folder: of media that are kept.
        memo: file of the hashes computed before.
    """
    return not _listed(raw)["failed"] and not changed(raw, folder, memo)


def changed(raw: Path, folder: Path, memo: Path) -> list[str]:
    """Return the paths of media that have changed, gone or come since the rows in `raw` were written."""
    listed, hashes = _listed(raw), Hashes(memo)
    files = {path: sha for _, path, sha in listed["found"]}
    paths = [path for path, sha in files.items() if not _is(hashes, folder / path, sha)]
    hashes.save()
    return paths + [path for path in listed["missing"] if Path(path).is_file()]


def listed_media(raw: Path) -> list[Medium]:
    """Return the media of the rows in `raw` that were found."""
    return [Medium(*medium) for medium in _listed(raw)["found"]]


def _listed(raw: Path) -> dict[str, Any]:
    return read_json(raw / LIST) if (raw / LIST).is_file() else {"found": [], "missing": [], "failed": []}


def _is(hashes: Hashes, path: Path, sha: str) -> bool:
    try:
        return hashes.sha256(path) == sha
    except OSError:
        return False
