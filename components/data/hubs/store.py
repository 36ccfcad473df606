"""Snapshots in a client's cache: what is there of one, and how the rest comes there.

Neither client can tell a whole snapshot from a part of one, nor does Hugging Face's look at checksums; a record in the
snapshot's folder, written last, names what was proven whole.
"""

import contextlib
import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from components.data.hubs.problems import explained
from components.data.hubs.repository import File, Repository, Snapshot
from components.data.hubs.subsets import front_matter, listed_configs, select
from components.errors import ConfigError, MartletError
from components.files import read_json, write_json

CARD = "README.md"
RECORD = ".martlet.json"
"""The names of all files of the repository, those that say what it holds, and the sizes of those proven whole."""
_LARGEST_CARD = 1 << 20


def cached(folder: Path, repo_id: str, subsets: Sequence[str], split: str) -> Snapshot | None:
    """The snapshot, when all of it that is wanted was proven whole and is as long as it was."""
    try:
        record = read_json(folder / RECORD)
        names, cards, sizes = record["names"], record["cards"], record["files"]
    except (OSError, ValueError, KeyError):
        return None
    if not _present(folder, cards, sizes):
        return None
    names, matter = _declared(folder, names, cards)
    chosen = select(names, matter, subsets, split, repo_id)
    return _snapshot(folder, chosen, matter) if _present(folder, chosen, sizes) else None


def _declared(folder: Path, names: list[str], cards: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The names of what may be rows, and what the repository says of itself: in its README, or in ModelScope's way."""
    matter = front_matter(folder / CARD)
    for card in cards:
        if card != CARD and (configs := listed_configs(folder / card)):
            return [name for name in names if name != card], {"configs": configs} | matter
    return names, matter


def _present(folder: Path, names: Iterable[str], sizes: dict[str, int]) -> bool:
    return all(name in sizes and _size(folder / name) == sizes[name] for name in names)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _snapshot(folder: Path, names: Iterable[str], matter: dict[str, Any]) -> Snapshot:
    return Snapshot([folder / name for name in names], folder.name, licence(matter))


def licence(matter: dict[str, Any]) -> str | None:
    """The licence that a repository declares."""
    said = matter.get("license")
    return ", ".join(map(str, said if isinstance(said, list) else [said] if said else [])) or None


def download(module: ModuleType, repo_id: str, repository: Repository, subsets: Sequence[str], split: str) -> Snapshot:
    """Bring what is wanted of a repository into the cache.

    Raises:
        ConfigError: as `wanted`.
        MartletError: the download failed, or what arrived is not what the hub lists.
    """
    cards, files, matter = wanted(module, repo_id, repository, subsets, split)
    bring(module, repo_id, repository.commit, files)
    folder: Path = module.folder(repo_id, repository.commit)
    _put_on_record(folder, repository, cards, files)
    return _snapshot(folder, [file.name for file in files], matter)


def wanted(
    module: ModuleType, repo_id: str, repository: Repository, subsets: Sequence[str], split: str
) -> tuple[list[File], list[File], dict[str, Any]]:
    """The files that say what is in a repository, which are downloaded; those of the wanted rows; what the first say.

    Raises:
        ConfigError: as `select`, or a name that lies outside of the snapshot.
        MartletError: the download failed.
    """
    by_name = {file.name: file for file in repository.files}
    for name in by_name:
        if "\0" in name or {"", ".", ".."} & set(name.split("/")):
            raise ConfigError(
                f"dataset '{repo_id}': {module.NAME} lists '{name}', which would lie outside of the dataset's folder; "
                f"nothing of it was downloaded, and it is best left alone"
            )
    folder: Path = module.folder(repo_id, repository.commit)
    possible = (CARD, f"{repo_id.rpartition('/')[2]}.json")
    cards = [by_name[name] for name in possible if name in by_name and by_name[name].size <= _LARGEST_CARD]
    bring(module, repo_id, repository.commit, cards)
    names, matter = _declared(folder, [*by_name], [file.name for file in cards])
    files = [by_name[name] for name in select(names, matter, subsets, split, repo_id)]
    return cards, files, matter


def bring(module: ModuleType, repo_id: str, commit: str, files: Sequence[File], into: Path | None = None) -> None:
    """Fetch what is not there, into the cache or a folder, and prove that all of it is what the hub has.

    Raises:
        MartletError: the download failed, or what arrived is not what the hub lists.
    """
    folder: Path = into or module.folder(repo_id, commit)
    if not files:
        return
    for file in files:
        if (folder / file.name).exists() and _size(folder / file.name) != file.size:
            _drop(folder / file.name)
    _check_space(module, repo_id, folder, [file for file in files if not (folder / file.name).exists()])
    with explained(module, repo_id, commit):
        module.fetch(repo_id, commit, files, into)
    for file in files:
        if not _is_whole(folder / file.name, file):
            _drop(folder / file.name)
            raise MartletError(
                f"dataset '{repo_id}': {file.name} is not what {module.NAME} says it is (its size or checksum); "
                f"the copy was removed, run again to fetch it anew"
            )


def _put_on_record(folder: Path, repository: Repository, cards: Sequence[File], files: Sequence[File]) -> None:
    sizes = {file.name: file.size for file in (*cards, *files)}
    with contextlib.suppress(OSError, ValueError, KeyError):
        sizes = read_json(folder / RECORD)["files"] | sizes
    names = [file.name for file in repository.files]
    write_json(folder / RECORD, {"names": names, "cards": [file.name for file in cards], "files": sizes})


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
