"""What is known of a model version, and what differs between two."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from components import registry
from components.config import Params
from components.errors import ConfigError
from components.registry import Listing
from tasks.stages.paths import Paths

Facts = dict[str, dict[str, Any]]
"""What is known of a version, by section and name."""
VERDICT_TAGS = {
    "gate": "decision", "gate.against": "against", "gate.reason": "reason", "approval": "approval", "probe": "probe"
}  # fmt: skip
"""Tags of a version about its promotion, with the names under which they are shown."""


class Difference(NamedTuple):
    """A fact that differs between two versions; None where a version has no such fact."""

    section: str
    name: str
    first: Any
    second: Any


def listed(params: Params, paths: Paths) -> list[Listing]:
    """Return all versions, the oldest first; a move that was interrupted is finished before."""
    name = params.registry.registered_model_name
    registry.champion(name, paths.workspace)
    return registry.versions(name, paths.workspace)


def number_of(word: str, params: Params, paths: Paths) -> int:
    """Return the number of the version that `3` or `champion` names.

    Raises:
        MartletError: there is no such version.
    """
    return registry.number_of(params.registry.registered_model_name, paths.workspace, word)


def facts(word: str, params: Params, paths: Paths) -> Facts:
    """Return what is known of the version that `3` or `champion` names.

    Raises:
        MartletError: there is no such version.
    """
    listings = listed(params, paths)
    number = number_of(word, params, paths)
    return _facts(next(listing for listing in listings if listing.number == number))


def summary(listing: Listing) -> dict[str, Any]:
    """Return what a list shows of a version."""
    facts = _facts(listing)
    return {**facts["version"], "scores": facts["scores"]}


def _facts(listing: Listing) -> Facts:
    lineage: dict[str, Any] = json.loads(listing.tags.get("lineage", "{}"))
    parameters = lineage.pop("params", {})
    sources = {name: listing.tags[name] for name in ("base_model", "commit", "content_sha256") if name in listing.tags}
    return {
        "version": {
            "number": listing.number,
            "aliases": list(listing.aliases),
            "variant": listing.variant,
            "created": listing.created.isoformat(timespec="seconds"),
            "description": listing.description,
            "weights": str(listing.folder or listing.source),
            "bytes": listing.size,
        },
        "lineage": {**lineage, **sources},
        "parameters": parameters,
        "scores": listing.scores,
        "verdict": {title: listing.tags[tag] for tag, title in VERDICT_TAGS.items() if tag in listing.tags},
        "files": _files(listing.folder) if listing.folder else {},
    }


def _files(folder: Path) -> dict[str, int]:
    """Return the bytes of weights and reports, by path below the version's folder."""
    files = sorted(file for file in folder.parent.rglob("*") if file.is_file())
    return {str(file.relative_to(folder.parent)): file.stat().st_size for file in files}


def differences(first: Facts, second: Facts) -> list[Difference]:
    """Return the facts about lineage, parameters, scores and verdicts that differ, in the order of the facts."""
    return [
        Difference(section, name, first[section].get(name), second[section].get(name))
        for section in ("lineage", "parameters", "scores", "verdict")
        for name in {**first[section], **second[section]}
        if first[section].get(name) != second[section].get(name)
    ]


class Check(NamedTuple):
    """What `verified` returns.

    Attributes:
        lines, versions: how many of them there are.
        faults: a sentence for each.
        without_chain: numbers of the lines that an older Martlet wrote.
        chain: that of the last line; a copy elsewhere shows whether the whole journal was written anew.
    """

    lines: int
    versions: int
    faults: list[str]
    without_chain: list[int]
    chain: str


def verified(params: Params, paths: Paths) -> Check:
    """Return the faults of the registry; nothing is changed."""
    name = params.registry.registered_model_name
    faults, entries = registry.verify(name, paths.workspace), registry.history(name, paths.workspace)
    count, chain = len(registry.versions(name, paths.workspace)), entries[-1].chain if entries else ""
    return Check(len(entries), count, faults, registry.without_chain(entries), chain)


def removable(keep: int, params: Params, paths: Paths) -> list[Listing]:
    """Return the versions that `remove` would remove.

    Raises:
        ConfigError: `keep` is negative.
        MartletError: the journal is damaged.
    """
    if keep < 0:
        raise ConfigError(f"--keep {keep}: a number of versions, 0 or more")
    return registry.removable(params.registry.registered_model_name, paths.workspace, keep)


def remove(keep: int, params: Params, paths: Paths) -> list[Listing]:
    """Remove the versions that nothing needs, with their weights, and return them; raises what `removable` does."""
    removable(keep, params, paths)
    return registry.remove(params.registry.registered_model_name, paths.workspace, keep)
