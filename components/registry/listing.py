"""The versions of a model as the registry lists them, and the numbers behind aliases."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import MartletError
from components.registry.store import connected, tags_and_aliases
from components.registry.versions import to_version

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIASES = {
    "champion": "no version was promoted yet, and `martlet promote` judges the newest candidate",
    "previous": "no version was champion before the present one",
    "challenger": "the newest candidate is champion, and `martlet run` makes another",
}
"""The aliases, each with why no version may have it."""


@dataclass(frozen=True)
class Listing:
    """A version as the registry lists it.

    Attributes:
        aliases: `champion`, `previous`, `challenger`, and others that somebody set.
        created: in UTC.
        folder: the weights, or None for a version whose weights are not among this workspace's models.
        source: where MLflow says the weights are.
    """

    number: int
    aliases: tuple[str, ...]
    created: datetime
    folder: Path | None
    source: str
    description: str
    tags: Mapping[str, str]

    @property
    def variant(self) -> str:
        """`merged`, or the name of a quantized variant."""
        return self.tags.get("variant", "")

    @property
    def scores(self) -> dict[str, float]:
        """Accuracy by question set, in [0, 1]."""
        prefix = "accuracy."
        return {key.removeprefix(prefix): float(text) for key, text in self.tags.items() if key.startswith(prefix)}

    @property
    def size(self) -> int | None:
        """Bytes of the weights folder, or None where there is none."""
        if self.folder is None or not self.folder.is_dir():
            return None
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())


def versions(name: str, workspace: Path) -> list[Listing]:
    """Return all versions of a model, the oldest first; none for an unknown name."""
    with connected(workspace) as client:
        return list_versions(client, name, workspace)


def list_versions(client: "MlflowClient", name: str, workspace: Path) -> list[Listing]:
    """Return what `versions` does."""
    aliases = tags_and_aliases(client, name)[1]
    listings: list[Listing] = []
    for entity in client.search_model_versions(f"name = '{name}'"):
        number = int(entity.version)
        try:
            folder = to_version(entity, workspace).folder
        except MartletError:  # registered by something else, or from another workspace
            folder = None
        own = tuple(sorted((alias for alias in aliases if aliases[alias] == number), key=_place))
        created = datetime.fromtimestamp(entity.creation_timestamp / 1000, UTC)
        source, description = entity.source or "", entity.description or ""
        listings.append(Listing(number, own, created, folder, source, description, dict(entity.tags)))
    return sorted(listings, key=lambda listing: listing.number)


def _place(alias: str) -> tuple[int, str]:
    return [*ALIASES, alias].index(alias), alias


def number_of(name: str, workspace: Path, word: str) -> int:
    """Return the number of the version that a word names: `3`, or an alias such as `champion`.

    Raises:
        MartletError: there is no such version or alias.
    """
    listings = versions(name, workspace)
    for listing in listings:
        if word == str(listing.number) or word in listing.aliases:
            return listing.number
    if listings and word in ALIASES:
        raise MartletError(f"{name} has no {word} now: {ALIASES[word]}")
    aliases = sorted({alias for listing in listings for alias in listing.aliases}, key=_place)
    choice = ", ".join([*(str(listing.number) for listing in listings), *aliases])
    there_are = f"there are {choice}" if choice else "nothing is registered under that name"
    raise MartletError(f"{name} has no version {word}; {there_are}")
