"""The drift report of a workspace, as a program: `python -m tasks.drift drift '{"promoted": true}'`.

A flow starts it as a child process: it imports libraries with threads of their own.
"""

import json
import sys
from functools import partial
from pathlib import Path

from components import drift, registry
from components.config import Params
from components.errors import MartletError
from components.files import MANIFEST, read_json, replacing
from tasks.claim import git_ignored
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main

ROWS, LAST = "rows", "last.parquet"
"""Below `.martlet`: the folder of the profiles of the rows that versions learned, and the profile of the last run."""
KEPT_VERSIONS = 10
"""Versions whose rows are known, the newest: as far as rollbacks are likely to go."""


def report(params: Params, paths: Paths, promoted: bool) -> Result:
    """Write reports/drift.html and drift.json on the rows in data/raw, and return the size of the change.

    They are compared with the rows that the champion learned, or those of the version that was promoted last where the
    champion's are not known, or with themselves. The rows of a run that was `promoted` are compared with those of the
    champion before, and kept as the new one's.
    """
    last = git_ignored(paths.workspace / ".martlet") / LAST
    drift.write_profile(paths.raw, last)
    gate = read_json(paths.reports / "gate.json") if promoted else {}
    before, base = _base(gate["champion"] if promoted else _champion(params, paths), paths)
    comparison = drift.compare(before or last, last)
    drift.write_report(paths.reports, {"inputs": _inputs(paths), "promoted": promoted, "base": base, **comparison})
    if promoted:
        _keep(gate["version"], paths)
    return {"change": comparison["change"]}


def _champion(params: Params, paths: Paths) -> int | None:
    """Return the number of today's champion, or None where there is none or the registry does not answer."""
    try:
        champion = registry.champion(params.registry.registered_model_name, paths.workspace)
    except MartletError:
        return None
    return champion.number if champion else None


def _base(champion: int | None, paths: Paths) -> tuple[Path | None, str]:
    """Return the profile that rows are compared with, or None where no version's is known, and its name for the
    page."""
    files = _profiles(paths)
    if not files:
        return None, "themselves, because the rows of no promoted version are known yet"
    of_champion = next((file for file in files if file.stem == str(champion)), None)
    if of_champion:
        return of_champion, f"those of the champion, version {champion}"
    what = f"the rows of the champion, version {champion}, are not known" if champion else "the champion is not known"
    return files[-1], f"those of version {files[-1].stem}, which was promoted last ({what})"


def is_reported(paths: Paths, promoted: bool) -> bool:
    """Return whether reports/drift.json is on the rows in data/raw, and the rows of a run that was `promoted` are kept;
    True where there are no whole rows."""
    if not all((paths.raw / name).is_file() for name in (MANIFEST, "train.parquet")):
        return True
    try:
        report = read_json(paths.reports / "drift.json")
        return report["inputs"] == _inputs(paths) and report["promoted"] >= promoted
    except (OSError, ValueError, KeyError, TypeError):  # no report yet, or a damaged one
        return False


def is_promoted(paths: Paths) -> bool:
    """Return whether the candidate of the last verdict became champion."""
    file = paths.reports / "gate.json"
    return file.is_file() and bool(read_json(file).get("promoted"))


def _inputs(paths: Paths) -> str:
    """Return the hash of all that decided the rows in data/raw."""
    return read_json(paths.raw / MANIFEST)["inputs"]


def _profiles(paths: Paths) -> list[Path]:
    """Return the profiles of the rows that versions learned, the one that was kept last at the end."""
    return sorted((paths.workspace / ".martlet" / ROWS).glob("*.parquet"), key=lambda file: file.stat().st_mtime)


def _keep(version: int, paths: Paths) -> None:
    folder = paths.workspace / ".martlet"
    with replacing(folder / ROWS / f"{version}.parquet") as temporary:
        temporary.write_bytes((folder / LAST).read_bytes())
    for file in _profiles(paths)[:-KEPT_VERSIONS]:
        file.unlink()


if __name__ == "__main__":
    name, options = sys.argv[1], json.loads(sys.argv[2])
    main(name, partial(report, **options))
