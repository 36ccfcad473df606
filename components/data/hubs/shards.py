"""A repository's files one after the other: each is downloaded while the one before is read, and removed when done."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from components.data.hubs.repository import File, Repository, Snapshot
from components.data.hubs.store import bring, licence, wanted
from components.errors import ConfigError, MartletError

TRIES = 5
"""How often a file is asked for: a hub that is away for half a minute does not end a run of days."""


class Shards(NamedTuple):
    """The `names` of files of rows; `read(start, scratch)` gives their paths from number `start` on, each until the
    next is asked for, and keeps no more than two in the folder `scratch`."""

    names: list[str]
    revision: str | None
    licence: str | None
    read: Callable[[int, Path], Iterator[Path]]


def kept(found: Snapshot) -> Shards:
    """The files of a snapshot, which stay where they are."""
    names = [path.name for path in found.files]
    return Shards(names, found.revision, found.licence, lambda start, _: iter(found.files[start:]))


def passing(module: ModuleType, repo_id: str, repository: Repository, subsets: Sequence[str], split: str) -> Shards:
    """The files of a hub's repository that hold the wanted rows.

    Raises:
        ConfigError, MartletError: as `wanted`; `read` raises MartletError when a file cannot be had.
    """
    _, files, matter = wanted(module, repo_id, repository, subsets, split)

    def read(start: int, scratch: Path) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=scratch) as folder, ThreadPoolExecutor(1) as other:

            def fetched(file: File) -> Path:
                _patiently(lambda: bring(module, repo_id, repository.commit, [file], Path(folder)))
                return Path(folder) / file.name

            left = files[start:]
            coming = [other.submit(fetched, file) for file in left[:1]]
            for following in [*left[1:], None]:
                path = coming.pop().result()
                if following:
                    coming.append(other.submit(fetched, following))
                yield path
                path.unlink()

    return Shards([file.name for file in files], repository.commit, licence(matter), read)


def _patiently(fetch: Callable[[], None]) -> None:
    for attempt in range(TRIES):
        try:
            fetch()
        except ConfigError:
            raise
        except MartletError:
            if attempt == TRIES - 1:
                raise
            time.sleep(2.0**attempt)
        else:
            return
