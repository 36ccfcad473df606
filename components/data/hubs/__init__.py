"""Hubs of datasets: one file each, found by its name.

It has `NAME`, `TOKEN` (the variable that holds a user's token), `INSTEAD` (what else a user can do), and
`online() -> bool`, `endpoint() -> str`, `cached(repo_id, revision) -> Path | None` without network,
`download(repo_id, revision) -> Path`, both giving the folder of a snapshot whose name is its commit.

A repository is downloaded into the cache of the hub's own client, at one commit. The clients' environment variables
(`HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`, `MODELSCOPE_ENDPOINT`, `MODELSCOPE_CACHE`, `MODELSCOPE_API_TOKEN`, proxies) hold.
"""

import importlib
import re
import urllib.error
import urllib.request
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from components.data.sources import SUFFIXES
from components.errors import ConfigError, MartletError

Errors = tuple[type[Exception], ...]
CONNECT_SECONDS = 5.0
_NOT_ROWS = {"dataset_infos.json", "dataset_info.json", "configuration.json", "config.json"}
_HELD_OUT = {"test", "validation", "valid", "val", "dev", "eval"}


@dataclass(frozen=True)
class Snapshot:
    """The files of rows of one repository at one commit, in the client's cache."""

    files: list[Path]
    revision: str
    licence: str | None


def snapshot(hub: str, repo_id: str, revision: str | None) -> Snapshot:
    """Download a dataset repository's rows from `hub`, or find them in the cache.

    With a `revision` that is in the cache the network is not touched. With none, the newest commit is looked up, and
    when the hub does not answer, the cached copy serves.

    Raises:
        ConfigError: there is no such repository, or it holds no file of rows.
        MartletError: the hub does not answer and nothing is cached.
    """
    module = importlib.import_module(f"components.data.hubs.{hub}")
    folder: Path | None = module.cached(repo_id, revision) if revision else None
    if folder is None:
        folder = module.download(repo_id, revision) if module.online() else module.cached(repo_id, revision)
    if folder is None:
        raise MartletError(
            f"dataset '{repo_id}': {module.NAME} ({module.endpoint()}) does not answer and no copy is in its cache; "
            f"check the network, {module.INSTEAD}, or name a local file"
        )
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    files = [folder / name for name in training_files(names)]
    if not files:
        raise ConfigError(f"dataset '{repo_id}' on {module.NAME} holds no file of rows ({', '.join(sorted(SUFFIXES))})")
    return Snapshot(files, folder.name, _licence(folder))


def training_files(names: Iterable[str]) -> list[str]:
    """The files of a repository that hold its training rows: one kind of file, held-out splits left aside."""
    rows = [n for n in sorted(names) if n.rpartition("/")[2] not in _NOT_ROWS and not n.startswith(".")]
    kinds = [[n for n in rows if n.lower().endswith(suffix)] for suffix in SUFFIXES]
    chosen = next((kind for kind in kinds if kind), [])
    train = [n for n in chosen if "train" in _words(n)]
    return train or [n for n in chosen if not _words(n) & _HELD_OUT] or chosen


def _words(name: str) -> set[str]:
    return set(re.split("[^a-z]+", name.lower()))


def _licence(folder: Path) -> str | None:
    """The licence in the front matter of a repository's README.md."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    front_matter = re.match(r"---\s*\n(.*?)\n---", card.read_text("utf-8"), re.DOTALL)
    match = re.search(r"^license:[ \"']*([\w.-]+)", front_matter[1], re.MULTILINE) if front_matter else None
    return match[1] if match else None


def answers(endpoint: str) -> bool:
    """Whether anything answers at `endpoint` within seconds; the clients would try for minutes."""
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=CONNECT_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


@contextmanager
def explained(hub: ModuleType, repo_id: str, unknown: Errors, failed: Errors) -> Generator[None]:
    """Turn a client's errors into one sentence: those for what a hub does not show, and those for what went wrong."""
    try:
        yield
    except unknown as error:
        raise ConfigError(
            f"dataset '{repo_id}': no such dataset on {hub.NAME}, or it is private and {hub.TOKEN} is not set; "
            f"check the id, or {hub.INSTEAD}"
        ) from error
    except failed as error:
        reason = str(error).strip().splitlines()[0]
        raise MartletError(f"dataset '{repo_id}': {hub.NAME} failed: {reason}; run again to go on") from error
