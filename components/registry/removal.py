"""Removal of versions that nothing needs, with their weights."""

import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import MartletError
from components.registry.entries import champions, read_entries, unreliable
from components.registry.listing import Listing, list_versions
from components.registry.store import connected, tags_and_aliases, writing

if TYPE_CHECKING:
    from mlflow import MlflowClient

REMOVED = "martlet.removed."
"""Tag of the registered model for each version that was removed: so that `verify` knows that it was on purpose."""


def removable(name: str, workspace: Path, keep: int) -> list[Listing]:
    """Return the versions that nothing needs, the oldest first.

    The `keep` newest of each variant are needed, of which versions that the gate refused count as the oldest; versions
    with an alias; and the champions that rollbacks return to.

    Raises:
        MartletError: the journal is damaged, so that these champions are not known.
    """
    with connected(workspace) as client:
        return _removable(client, name, workspace, keep)


def _removable(client: "MlflowClient", name: str, workspace: Path, keep: int) -> list[Listing]:
    entries = read_entries(tags_and_aliases(client, name)[0])
    if damaged := [str(number) for number in unreliable(entries)]:
        raise MartletError(
            f"the journal of {name} is damaged in line {', '.join(damaged)}: the champions that a rollback returns to "
            "are not known, and no version is removed; see `martlet registry verify`"
        )
    listings, by_variant = list_versions(client, name, workspace), defaultdict[str, list[Listing]](list)
    for listing in listings:
        by_variant[listing.variant].append(listing)
    for group in by_variant.values():
        group.sort(key=lambda listing: (listing.tags.get("gate") != "refuse", listing.number))
    newest = {listing.number for group in by_variant.values() for listing in group[len(group) - keep :]}
    needed = newest | set(champions(entries))
    return [listing for listing in listings if not listing.aliases and listing.number not in needed]


def remove(name: str, workspace: Path, keep: int) -> list[Listing]:
    """Remove the versions that nothing needs, and their weights where no other version has the same; return them.

    The weights go first: what a kill leaves is removed by the next call.

    Raises:
        MartletError: as `removable`.
    """
    with writing(workspace) as client:
        listings = _removable(client, name, workspace, keep)
        for listing in listings:
            if listing.folder and listing.folder.is_dir() and not _is_shared(client, listing):
                shutil.rmtree(listing.folder.parent)
            client.set_registered_model_tag(name, f"{REMOVED}{listing.number}", listing.created.isoformat())
            client.delete_model_version(name, str(listing.number))
        return listings


def freed_bytes(listings: Iterable[Listing], workspace: Path) -> int:
    """Return the bytes that are free after a removal of versions: those of files that have no other hard link, such as
    in models/ or in DVC's cache."""
    with connected(workspace) as client:
        folders = [
            listing.folder.parent
            for listing in listings
            if listing.folder and listing.folder.is_dir() and not _is_shared(client, listing)
        ]
    files = (file.stat() for folder in folders for file in folder.rglob("*") if file.is_file())
    return sum(file.st_size for file in files if file.st_nlink == 1)


def _is_shared(client: "MlflowClient", listing: Listing) -> bool:
    """Return whether a version under another name has the same weights."""
    return len(client.search_model_versions(f"tags.content_sha256 = '{listing.tags['content_sha256']}'")) > 1


def removed_numbers(tags: Mapping[str, str]) -> set[int]:
    """Return the numbers of the versions that `remove` has removed."""
    return {int(tag.removeprefix(REMOVED)) for tag in tags if tag.startswith(REMOVED)}
