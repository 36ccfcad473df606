"""The files of a hub's dataset that hold its rows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.data.subsets import front_matter, listed_configs, select
from components.hub import Repository, locate

CARD = "README.md"
CARD_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class HubFiles:
    """Files of rows of one repository at one commit, by their names there."""

    repository: Repository
    names: list[str]
    licence: str | None

    @property
    def commit(self) -> str:
        """The repository's commit."""
        return self.repository.commit

    def fetch(self) -> list[Path]:
        """Return the files' paths in the cache, as `Repository.fetch`."""
        return self.repository.fetch(self.names)

    def stream(self, start: int, scratch: Path) -> Iterator[Path]:
        """Yield the paths from file number `start` on, as `Repository.stream`."""
        return self.repository.stream(self.names[start:], scratch)


def locate_files(
    hub: str,
    repo_id: str,
    revision: str | None,
    subsets: Sequence[str] = (),
    *,
    split: str = "train",
    similar: Iterable[str] = (),
) -> HubFiles:
    """Return the files that hold the rows of `subsets`. None of them is downloaded, only the repository's README.

    Args:
        revision: a branch, a tag or a commit.
        subsets: names of subsets; none stands for the default one, or for all training files where none is declared.
        similar: ids among which a misspelt `repo_id` is looked for.

    Raises:
        ConfigError: no such repository, revision or subset, no access to it, no file of rows, or a missing shard.
        MartletError: the hub does not answer and nothing is in the cache.
    """
    repository = locate(hub, "dataset", repo_id, revision, similar)
    names, metadata = _declared(repository)
    return HubFiles(repository, select(names, metadata, subsets, split, repo_id), _licence(metadata))


def _declared(repository: Repository) -> tuple[list[str], dict[str, Any]]:
    """Return the names of possible files of rows, and what README.md or ModelScope's `NAME.json` declares."""
    files = repository.files
    possible = (CARD, f"{repository.repo_id.rpartition('/')[2]}.json")
    cards = [name for name in possible if name in files and files[name].size <= CARD_MAX_BYTES]
    paths = dict(zip(cards, repository.fetch(cards), strict=True))
    metadata = front_matter(paths[CARD]) if CARD in paths else {}
    for name, path in paths.items():
        if name != CARD and (configs := listed_configs(path)):
            return [other for other in files if other != name], {"configs": configs} | metadata
    return [*files], metadata


def _licence(metadata: dict[str, Any]) -> str | None:
    declared = metadata.get("license")
    return ", ".join(map(str, declared if isinstance(declared, list) else [declared] if declared else [])) or None
