"""A repository of a hub at one commit, and its files, each complete or absent.

Neither client can tell a complete file in its cache from one that was cut later. A record in the snapshot's folder,
written after the files, holds the listing and names the files that were verified.
"""

import importlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from components.errors import ConfigError, MartletError
from components.files import read_json, write_json
from components.hub.listing import Client, File, Listing, RepoKind
from components.hub.problems import check_reachable, explained

RECORD = ".martlet.json"
STREAM_TRIES = 5
"""Downloads of one file of a stream: a hub that is away for half a minute does not end a run of days."""


def client(hub: str) -> Client:
    """Return the module of a hub."""
    return cast(Client, importlib.import_module(f"components.hub.{hub}"))


@dataclass(frozen=True)
class Repository:
    """All files of a repository at one commit, by name."""

    hub: str
    kind: RepoKind
    repo_id: str
    commit: str
    files: Mapping[str, File]

    @property
    def folder(self) -> Path:
        """Where `fetch` puts the files: the commit's folder in the cache of the hub's client."""
        return client(self.hub).folder(self.kind, self.repo_id, self.commit)

    def is_cached(self, names: Iterable[str]) -> bool:
        """Return whether all these files are in the cache, verified and uncut."""
        return not self._absent(names)

    def fetch(self, names: Iterable[str]) -> list[Path]:
        """Return the paths of files in the cache; what is not there yet is downloaded and verified first.

        Raises:
            ConfigError: the hub refuses them.
            MartletError: the hub does not answer, the disk is full, or what arrived is not what the hub lists. Files
                that are complete stay for the next try.
        """
        names = list(names)
        if absent := self._absent(names):
            self._download(absent)
            self.record_verified([file.name for file in absent])
        return [self.folder / name for name in names]

    def stream(self, names: Sequence[str], scratch: Path) -> Iterator[Path]:
        """Yield the path of each file, valid until the next is asked for.

        Each file is downloaded into the folder `scratch` while the one before is read, and removed afterwards, so that
        two lie there at most. Where the cache has all of them, these are read and stay.

        Raises:
            ConfigError, MartletError: as `fetch`.
        """
        if self.is_cached(names):
            yield from (self.folder / name for name in names)
            return
        with tempfile.TemporaryDirectory(dir=scratch) as folder, ThreadPoolExecutor(1) as downloads:

            def download(name: str) -> Path:
                _patiently(lambda: self._download([self.files[name]], Path(folder)))
                return Path(folder) / name

            pending = [downloads.submit(download, name) for name in names[:1]]
            for following in [*names[1:], None]:
                path = pending.pop().result()
                if following:
                    pending.append(downloads.submit(download, following))
                yield path
                path.unlink()

    def record_verified(self, names: Iterable[str]) -> None:
        """Add names to the verified files in the record."""
        record = _read_record(self.folder) or {"verified": {}}
        verified = record["verified"] | {name: list(self.files[name]) for name in names}
        files = [list(file) for file in self.files.values()]
        write_json(self.folder / RECORD, {"files": files, "verified": verified})

    def _absent(self, names: Iterable[str]) -> list[File]:
        verified = (_read_record(self.folder) or {"verified": {}})["verified"]
        files = [self.files[name] for name in names]
        return [file for file in files if verified.get(file.name) != list(file) or not has_size(self.folder, file)]

    def _download(self, files: Sequence[File], into: Path | None = None) -> None:
        hub, subject = client(self.hub), f"{self.kind} '{self.repo_id}'"
        check_reachable(hub, subject)
        folder = into or self.folder
        _check_space(hub, subject, folder, [file for file in files if not has_size(folder, file)])
        with explained(hub, self.kind, self.repo_id, self.commit):
            hub.download(self.kind, self.repo_id, self.commit, files, into)


def from_listing(hub: str, kind: RepoKind, repo_id: str, listing: Listing) -> Repository:
    """Return the repository of a listing.

    Raises:
        ConfigError: a name that would lie outside of the repository's folder.
    """
    for name, *_ in listing.files:
        if "\0" in name or {"", ".", ".."} & set(name.split("/")):
            raise ConfigError(
                f"{kind} '{repo_id}': {client(hub).NAME} lists '{name}', which would lie outside of the {kind}'s "
                "folder; nothing of it was downloaded, and it is best left alone"
            )
    return Repository(hub, kind, repo_id, listing.commit, {file.name: file for file in listing.files})


def from_cache(hub: str, kind: RepoKind, repo_id: str, commit: str) -> Repository | None:
    """Return the repository of a commit that `fetch` has recorded."""
    record = _read_record(client(hub).folder(kind, repo_id, commit))
    if record is None:
        return None
    return from_listing(hub, kind, repo_id, Listing(commit, [File(*file) for file in record["files"]]))


def has_size(folder: Path, file: File) -> bool:
    """Return whether a file lies in a folder with the size that the hub lists."""
    path = folder / file.name
    return path.is_file() and path.stat().st_size == file.size


def _read_record(folder: Path) -> dict[str, Any] | None:
    try:
        record = read_json(folder / RECORD)
    except (OSError, ValueError):
        return None
    return record if "verified" in record else None


def _check_space(hub: Client, subject: str, folder: Path, files: Sequence[File]) -> None:
    disk = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    needed, free = sum(file.size for file in files), shutil.disk_usage(disk).free
    if needed > free:
        raise MartletError(
            f"{subject} needs {needed / 1e9:,.1f} GB and the disk of {disk} has {free / 1e9:,.1f} GB left; free some, "
            f"or set {hub.HOME} to a folder on a larger disk"
        )


def _patiently(download: Callable[[], None]) -> None:
    """Try again after 1, 2, 4 and 8 seconds: Hugging Face's client does not repeat what a server error answered."""
    for attempt in range(STREAM_TRIES):
        try:
            return download()
        except ConfigError:
            raise
        except MartletError:
            if attempt == STREAM_TRIES - 1:
                raise
            time.sleep(2.0**attempt)
    return None
