"""Backups of what a workspace cannot make again: MLflow's runs, the registry with its journal, on demand the models.

A backup is one tar file: `manifest.json`, with the sha256 of every other file, comes last. MLflow's database is copied
by SQLite's own backup, so a backup may be made while runs go on.
"""

import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from components.config.groups.tracking import tracking_uri
from components.errors import ConfigError, MartletError
from components.files import MANIFEST, is_intact, read_json, replacing, seal
from tasks.claim import claim
from tasks.workspace import HISTORY

STORE, DATABASE, MODELS = Path("mlruns"), Path("mlruns/mlflow.db"), Path("mlruns/models")
LOCK = STORE / "registry.lock"
TOPS = (STORE, Path(HISTORY))
"""The folders of a workspace that are backed up."""


def backup(workspace: Path, file: Path, with_models: bool) -> int:
    """Write a backup of the workspace to a tar file, complete or not at all; return its bytes.

    Raises:
        ConfigError: MLflow's store is a server's, or there is none yet.
    """
    _require_own_store(workspace)
    if not (workspace / DATABASE).is_file():
        raise ConfigError(f"{workspace}: nothing to back up: no run has been recorded in {DATABASE}")
    with _scratch(file.absolute().parent) as folder:
        (folder / STORE).mkdir()
        _copy_database(workspace / DATABASE, folder / DATABASE)
        for path in _files(workspace, with_models):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            _link(workspace / path, folder / path)
        seal(folder, workspace=str(workspace.resolve()))
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        with replacing(file) as temporary, tarfile.open(temporary, "w", dereference=True) as archive:
            for name in sorted(names, key=lambda name: name == MANIFEST):
                archive.add(folder / name, name)
    return file.stat().st_size


def restore(workspace: Path, file: Path, overwrite: bool) -> int:
    """Put the runs, the registry and the models of a backup into a workspace, which may be another than the one that
    the backup is of; return the number of files that were restored.

    Nothing is touched before the whole backup has been checked, and the database comes last, in one transaction: an
    interrupted restore has changed nothing that is seen, and the same command does it again. Models that the backup
    does not hold stay.

    Raises:
        ConfigError: MLflow's store is a server's, or the workspace has runs and `overwrite` is False.
        MartletError: the file is no backup, is damaged or is not whole; or a run works in the workspace.
    """
    _require_own_store(workspace)
    if not file.is_file():
        raise ConfigError(f"{file}: {'not a' if file.exists() else 'no such'} file")
    if (workspace / DATABASE).exists() and not overwrite:
        raise ConfigError(f"{workspace / DATABASE} is there already; --overwrite replaces it with the backup's")
    (workspace / STORE).mkdir(exist_ok=True)
    with claim(workspace, f"`martlet restore {file}`"), _scratch(workspace / STORE) as folder:
        _extract(file, folder)
        _move(folder / DATABASE, _workspace_of(file, folder), workspace.resolve())
        paths = [path.relative_to(folder) for top in TOPS for path in _below(folder / top)]
        for path in paths:
            if path not in (DATABASE, LOCK):
                (workspace / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).replace(workspace / path)
        _copy_database(folder / DATABASE, workspace / DATABASE)
        return len(paths)


def _require_own_store(workspace: Path) -> None:
    uri = tracking_uri(workspace)
    if not uri.startswith("sqlite:"):
        raise ConfigError(
            f"the MLflow server at {uri} keeps the runs and the registry: back up its database and artifacts there, or "
            "unset MLFLOW_TRACKING_URI for the workspace's own store"
        )


PLACES = (
    ("model_versions", "source"), ("model_versions", "storage_location"), ("experiments", "artifact_location"),
    ("runs", "artifact_uri"), ("logged_models", "artifact_location"),
)  # fmt: skip
"""Tables and columns of MLflow's database with addresses of files."""


def _move(database: Path, former: Path, now: Path) -> None:
    """Replace the path of the former workspace in the addresses of files by the path of this one."""
    try:
        with closing(sqlite3.connect(database)) as connection, connection:
            for table, column in PLACES:
                for before, after in ((former.as_uri(), now.as_uri()), (str(former), str(now))):
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                        (f"{after}/", len(before) + 2, len(before) + 1, f"{before}/"),
                    )
    except sqlite3.Error as error:
        raise MartletError(
            f"the backup's {DATABASE} is no database of MLflow: {error}; nothing was restored"
        ) from error


def _copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database in one transaction: `target` has all of it, or is as it was."""
    try:
        with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
            one.backup(other)
    except sqlite3.Error as error:
        raise MartletError(f"{source} cannot be copied to {target}: {error}") from error


def _files(workspace: Path, with_models: bool) -> list[Path]:
    """Return the files that are copied as they are, relative to the workspace."""
    files = [path.relative_to(workspace) for top in TOPS for path in _below(workspace / top)]
    return [
        path
        for path in files
        if not path.name.startswith((DATABASE.name, ".", "database.lock"))
        and (with_models or not (MODELS in path.parents and "model" in path.parts))
    ]


def _below(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.is_file()]


def _link(source: Path, target: Path) -> None:
    """Make `target` the same file as `source` where the file system can, or else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _extract(file: Path, folder: Path) -> None:
    try:
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        reason = "" if isinstance(error, tarfile.ReadError) else f": {error}"  # a list of all ways to read a tar file
        raise MartletError(f"{file}: not a backup, or not whole{reason}; nothing was restored") from error
    if not _is_whole(folder) or not (folder / DATABASE).is_file():
        raise MartletError(f"{file}: damaged, or not a backup of `martlet backup`; nothing was restored")


def _is_whole(folder: Path) -> bool:
    """Return whether a folder holds each file of its manifest as it was, and nothing else: no link, either."""
    paths = [*folder.rglob("*")]
    names = {path.relative_to(folder).as_posix() for path in paths if path.is_file()}
    return (
        is_intact(folder)
        and names == {MANIFEST, *read_json(folder / MANIFEST)["files"]}
        and not any(path.is_symlink() for path in paths)
    )


def _workspace_of(file: Path, folder: Path) -> Path:
    """Return the workspace that a backup is of."""
    workspace = read_json(folder / MANIFEST).get("workspace")
    if not isinstance(workspace, str) or not Path(workspace).is_absolute():
        raise MartletError(f"{file}: its {MANIFEST} does not name the workspace; nothing was restored")
    return Path(workspace)


@contextmanager
def _scratch(parent: Path) -> Generator[Path]:
    """Yield a new folder on the disk of `parent`, and remove it."""
    with tempfile.TemporaryDirectory(prefix=".martlet-", dir=parent) as folder:
        yield Path(folder)
