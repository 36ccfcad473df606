"""Hubs of datasets: one file each, with `NAME` and `snapshot(repo_id, revision)`.

A repository is downloaded into the cache of the hub's own client, at one commit. The clients' environment variables
(`HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`, `MODELSCOPE_ENDPOINT`, `MODELSCOPE_CACHE`, `MODELSCOPE_API_TOKEN`, proxies) hold.
"""

import importlib
import re
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components.data.sources import SUFFIXES
from components.errors import ConfigError, MartletError

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
    found: Snapshot = module.snapshot(repo_id, revision)
    if not found.files:
        raise ConfigError(f"dataset '{repo_id}' on {module.NAME} holds no file of rows ({', '.join(sorted(SUFFIXES))})")
    return found


def training_files(names: Iterable[str]) -> list[str]:
    """The files of a repository that hold its training rows: one kind of file, held-out splits left aside."""
    rows = [n for n in sorted(names) if n.rpartition("/")[2] not in _NOT_ROWS and not n.startswith(".")]
    kinds = [[n for n in rows if n.lower().endswith(suffix)] for suffix in SUFFIXES]
    chosen = next((kind for kind in kinds if kind), [])
    train = [n for n in chosen if "train" in _words(n)]
    return train or [n for n in chosen if not _words(n) & _HELD_OUT] or chosen


def _words(name: str) -> set[str]:
    return set(re.split("[^a-z]+", name.lower()))


def cached_files(folder: Path) -> list[Path]:
    """`training_files` of a snapshot folder."""
    return [folder / n for n in training_files(p.relative_to(folder).as_posix() for p in folder.rglob("*"))]


def licence_of(folder: Path) -> str | None:
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


def unreachable(name: str, repo_id: str, endpoint: str, other: str) -> MartletError:
    """The error for a hub that does not answer."""
    return MartletError(
        f"dataset '{repo_id}': {name} ({endpoint}) does not answer and no copy is in its cache; "
        f"check the network, {other}, or name a local file"
    )


def unknown(name: str, repo_id: str, token: str, other: str) -> ConfigError:
    """The error for a repository that the hub does not show."""
    return ConfigError(
        f"dataset '{repo_id}': no such dataset on {name}, or it is private and {token} is not set; "
        f"check the id, or {other}"
    )
