"""Hubs of datasets: one file each, found by its name.

    found = snapshot("huggingface", "owner/name", "main", ["zh"])        # files, commit, licence

A repository is downloaded into the cache of the hub's own client, at one commit. The clients' environment variables
(`HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE`, `MODELSCOPE_ENDPOINT`, `MODELSCOPE_CACHE`,
`MODELSCOPE_API_TOKEN`, proxies) hold. A hub's file has `NAME`, `TOKEN` and `HOME` (the variables of a user's token and
of the cache), `INSTEAD` (what else a user can do), and

    endpoint() -> str, has_token() -> bool, switched_off() -> str | None      # the variable that says not to ask
    look(repo_id, revision) -> Repository          fetch(repo_id, commit, files)              with the network
    folder(repo_id, commit) -> Path                remembered(repo_id, revision) -> str | None      without
    errors() -> the client's exceptions            problem(error) -> Problem
"""

import contextlib
import hashlib
import importlib
import logging
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from components.data.hubs.problems import HubAwayError, answers, explained
from components.data.hubs.repository import File, Repository
from components.data.hubs.subsets import front_matter, select, whole_shards
from components.errors import ConfigError, MartletError
from components.files import read_json, write_json

CARD = "README.md"
RECORD = ".martlet.json"
"""In the folder of a snapshot, written last: the names in the repository, and the sizes of the files proven whole."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"(?!.*\.\.)\w[\w./+-]*")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """The files of rows of one repository at one commit, in the client's cache."""

    files: list[Path]
    revision: str
    licence: str | None


def snapshot(
    hub: str,
    repo_id: str,
    revision: str | None,
    subsets: Sequence[str] = (),
    *,
    split: str = "train",
    known: Iterable[str] = (),
) -> Snapshot:
    """Download the rows of a dataset repository's `subsets` from `hub`, or find them in the cache.

    With a commit that is in the cache the network is not touched. Of a branch, a tag or nothing (the main branch) the
    commit is looked up, and when the hub is away, the commit that it last was serves from the cache.

    Args:
        revision: a branch, a tag or a commit; the snapshot's own `revision` is the commit.
        subsets: by their names; none stands for the default one, or for all training files where none is declared.
        known: ids of the hub that are known, one of which an unknown `repo_id` may be meant to be.

    Raises:
        ConfigError: no such repository, revision or subset, no access to it, a repository without files of rows, with
            a missing shard, or with names that lie outside of it.
        MartletError: the hub does not answer and nothing is cached, or the download failed; run again to go on.
    """
    if revision and not _REVISION.fullmatch(revision):
        raise ConfigError(f"dataset '{repo_id}': '{revision}' is not the name of a branch, a tag or a commit")
    module = importlib.import_module(f"components.data.hubs.{hub}")
    commit = revision if revision and _COMMIT.fullmatch(revision) else None
    found = commit and _cached(module.folder(repo_id, commit), repo_id, subsets, split)
    if found:
        return found
    try:
        _reach(module, repo_id)
        with explained(module, repo_id, revision, known):
            repository: Repository = module.look(repo_id, revision)
    except HubAwayError as away:
        commit = commit or module.remembered(repo_id, revision)
        found = commit and _cached(module.folder(repo_id, commit), repo_id, subsets, split)
        if found:
            log.warning("dataset '%s': %s; its copy in the cache serves, commit %s", repo_id, away.reason, commit)
            return found
        raise MartletError(
            f"dataset '{repo_id}': {away.reason} and no copy is in its cache ({module.HOME}); "
            f"{away.remedy}, or name a local file"
        ) from away
    folder: Path = module.folder(repo_id, repository.commit)
    return _cached(folder, repo_id, subsets, split) or _download(module, repo_id, repository, subsets, split)


def _reach(module: ModuleType, repo_id: str) -> None:
    """The clients themselves would try for minutes."""
    if switch := module.switched_off():
        raise HubAwayError(repo_id, f"{switch} is set", "unset it")
    if not answers(module.endpoint()):
        reason = f"{module.NAME} ({module.endpoint()}) does not answer"
        raise HubAwayError(repo_id, reason, f"check the network, {module.INSTEAD}")


def _cached(folder: Path, repo_id: str, subsets: Sequence[str], split: str) -> Snapshot | None:
    """The snapshot, when all of it that is wanted was proven whole and is as long as it was."""
    try:
        record = read_json(folder / RECORD)
        names, sizes = list(record["names"]), dict(record["files"])
    except (OSError, ValueError, KeyError):
        return None
    card = [CARD] if CARD in names else []
    if not _present(folder, card, sizes):
        return None
    matter = front_matter(folder / CARD)
    chosen = select(names, matter, subsets, split, repo_id)
    return _snapshot(folder, chosen, matter) if _present(folder, chosen, sizes) else None


def _present(folder: Path, names: Iterable[str], sizes: dict[str, int]) -> bool:
    return all(name in sizes and _size(folder / name) == sizes[name] for name in names)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _snapshot(folder: Path, names: Iterable[str], matter: dict[str, Any]) -> Snapshot:
    licence = matter.get("license")
    words = licence if isinstance(licence, list) else [licence] if licence else []
    return Snapshot([folder / name for name in names], folder.name, ", ".join(map(str, words)) or None)


def _download(module: ModuleType, repo_id: str, repository: Repository, subsets: Sequence[str], split: str) -> Snapshot:
    by_name = {file.name: file for file in repository.files}
    for name in by_name:
        if "\0" in name or {"", ".", ".."} & set(name.split("/")):
            raise ConfigError(
                f"dataset '{repo_id}': {module.NAME} lists '{name}', which would lie outside of the dataset's folder; "
                f"nothing of it was downloaded, and it is best left alone"
            )
    folder: Path = module.folder(repo_id, repository.commit)
    if CARD in by_name:
        _bring(module, repo_id, repository, [by_name[CARD]])
    matter = front_matter(folder / CARD)
    chosen = select(by_name, matter, subsets, split, repo_id)
    whole_shards(chosen, repo_id)
    _bring(module, repo_id, repository, [by_name[name] for name in chosen])
    return _snapshot(folder, chosen, matter)


def _bring(module: ModuleType, repo_id: str, repository: Repository, files: Sequence[File]) -> None:
    """Fetch what is not there, prove that all of it is what the hub has, and put it on record."""
    folder: Path = module.folder(repo_id, repository.commit)
    for file in files:
        if (folder / file.name).exists() and _size(folder / file.name) != file.size:
            _drop(folder / file.name)
    _check_space(module, repo_id, folder, [file for file in files if not (folder / file.name).exists()])
    with explained(module, repo_id, repository.commit):
        module.fetch(repo_id, repository.commit, files)
    for file in files:
        if not _is_whole(folder / file.name, file):
            _drop(folder / file.name)
            raise MartletError(
                f"dataset '{repo_id}': {file.name} is not what {module.NAME} says it is (its size or checksum); "
                f"the copy was removed, run again to fetch it anew"
            )
    sizes = {file.name: file.size for file in files}
    with contextlib.suppress(OSError, ValueError, KeyError):
        sizes = read_json(folder / RECORD)["files"] | sizes
    write_json(folder / RECORD, {"names": [file.name for file in repository.files], "files": sizes})


def _drop(path: Path) -> None:
    """Remove a file, and what it points to: Hugging Face's cache holds links to files named after their hashes."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _check_space(module: ModuleType, repo_id: str, folder: Path, files: Sequence[File]) -> None:
    disk = next(parent for parent in folder.parents if parent.is_dir())
    needed, free = sum(file.size for file in files), shutil.disk_usage(disk).free
    if needed > free:
        raise MartletError(
            f"dataset '{repo_id}' needs {needed / 1e9:,.1f} GB and the disk of {disk} has {free / 1e9:,.1f} GB left; "
            f"free some, or set {module.HOME} to a folder on a larger disk"
        )


def _is_whole(path: Path, file: File) -> bool:
    if _size(path) != file.size:
        return False
    if not (file.sha256 or file.blob):
        return True
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == (file.sha256 or file.blob)
