"""The drift report of a workspace, as a program: `python -m tasks.drift drift '{"promoted": true}'`.

A flow starts it as a child process: it imports libraries with threads of their own.
"""

import json
import sys
from functools import partial

from components import drift
from components.config import Params
from components.files import MANIFEST, read_json, replacing
from tasks.claim import git_ignored
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main

PROMOTED, LAST = "promoted.parquet", "last.parquet"
"""Files below `.martlet`: the profiles of the rows of the last promoted run, and of the last run."""


def report(_: Params, paths: Paths, promoted: bool) -> Result:
    """Write reports/drift.html and drift.json on the rows in data/raw, and return the size of the change.

    They are compared with the rows of the last promoted run, or with themselves where none is known. If the run was
    `promoted`, the rows are what the next ones are compared with.
    """
    folder = git_ignored(paths.workspace / ".martlet")
    drift.write_profile(paths.raw, folder / LAST)
    if not (folder / PROMOTED).is_file():
        _keep(paths)
    comparison = drift.compare(folder / PROMOTED, folder / LAST)
    drift.write_report(paths.reports, {"inputs": _inputs(paths), "promoted": promoted, **comparison})
    if promoted:
        _keep(paths)
    return {"change": comparison["change"]}


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


def _keep(paths: Paths) -> None:
    folder = paths.workspace / ".martlet"
    with replacing(folder / PROMOTED) as temporary:
        temporary.write_bytes((folder / LAST).read_bytes())


if __name__ == "__main__":
    name, options = sys.argv[1], json.loads(sys.argv[2])
    main(name, partial(report, **options))
