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

OF_VARIANTS = {
    "promote": "as good as merged", "refuse": "worse than merged", "not enough evidence": "against merged: not enough "
    "evidence"
}  # fmt: skip
"""What a decision of the gate says of a quantized variant."""
FOLDERS = ("martlet.adapter", "martlet.merged")
"""Folders of the lineage, which later runs and removed work trees leave behind."""


class Difference(NamedTuple):
    """A fact that differs between two versions; None where a version has no such fact."""

    section: str
    name: str
    first: Any
    second: Any


def listed(params: Params, paths: Paths) -> list[Listing]:
    """Return all versions, the oldest first; a move that was interrupted is finished before, and `challenger` is the
    newest candidate."""
    name = params.registry.registered_model_name
    registry.champion(name, paths.workspace)
    registry.renew_challenger(name, paths.workspace)
    return registry.versions(name, paths.workspace)


def number_of(word: str, params: Params, paths: Paths) -> int:
    """Return the number of the version that `3` or `champion` names.

    Raises:
        MartletError: there is no such version.
    """
    name = params.registry.registered_model_name
    if not word.isdecimal():
        registry.renew_challenger(name, paths.workspace)
    return registry.number_of(name, paths.workspace, word)


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
    lineage = {key: value for key, value in lineage.items() if not key.startswith(FOLDERS) or Path(value).exists()}
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
        "verdict": {
            title: decision(listing) if tag == "gate" else listing.tags[tag]
            for tag, title in VERDICT_TAGS.items()
            if tag in listing.tags
        },
        "files": _files(listing.folder) if listing.folder else {},
    }


def decision(listing: Listing) -> str:
    """Return the gate's decision on a version, or ""; a quantized variant was compared with its merged model."""
    text = listing.tags.get("gate", "")
    return text if listing.variant == "merged" else OF_VARIANTS.get(text, text)


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


def freed_bytes(listings: list[Listing], paths: Paths) -> int:
    """Return the bytes that are free after the removal of versions."""
    return registry.freed_bytes(listings, paths.workspace)


def remove(keep: int, params: Params, paths: Paths) -> list[Listing]:
    """Remove the versions that nothing needs, with their weights, and return them; raises what `removable` does."""
    removable(keep, params, paths)
    return registry.remove(params.registry.registered_model_name, paths.workspace, keep)
