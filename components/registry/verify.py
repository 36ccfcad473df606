"""The registry compared with its journal: what was edited, moved, removed or changed behind Martlet's back."""

from collections.abc import Mapping
from pathlib import Path

from components.errors import MartletError
from components.files import sha256
from components.registry.entries import APPLIED, DAMAGED, Entry, chains, read_entries, title, without_chain
from components.registry.removal import removed_numbers
from components.registry.store import tags_and_aliases, writing
from components.registry.versions import Version, to_version


def verify(name: str, workspace: Path) -> list[str]:
    """Return one sentence for each fault; nothing is changed.

    Faults are: lines of the journal that are missing, cannot be read, or were edited; a move that was interrupted;
    aliases that disagree with the journal; versions of the journal that were deleted by other means than `remove`;
    weights and verdicts that are gone or have changed.

    Raises:
        MartletError: the store cannot be opened, or has no model of that name.
    """
    with writing(workspace) as client:
        tags, aliases = tags_and_aliases(client, name)
        entities = client.search_model_versions(f"name = '{name}'")
    if not tags and not entities:
        raise MartletError(f"nothing is registered under the name {name}; `martlet run` registers a model")
    versions: list[Version] = []
    faults_of_weights: list[str] = []
    for entity in sorted(entities, key=lambda entity: int(entity.version)):
        try:
            versions.append(to_version(entity, workspace))
            versions[-1].verify()
        except MartletError as error:
            faults_of_weights.append(str(error))
    entries, existing = read_entries(tags), {int(entity.version) for entity in entities}
    return [
        *_faults_of_lines(entries),
        *_faults_of_aliases(entries, tags, aliases, existing),
        *_deletions(entries, existing | removed_numbers(tags)),
        *faults_of_weights,
        *_faults_of_verdicts(entries, versions),
    ]


def _faults_of_lines(entries: list[Entry]) -> list[str]:
    faults: list[str] = []
    older = without_chain(entries)
    for entry, chain in chains(entries):
        if entry.action == DAMAGED:
            faults.append(f"journal, line {entry.number}: {entry.by}")
        elif not entry.chain and entry.number not in older:
            faults.append(f"journal, line {entry.number}: has no chain, unlike the lines before: it was edited")
        elif entry.chain and entry.chain != chain:
            or_older = f", or an older one of lines {older[0]} to {older[-1]} was" if older else ""
            faults.append(f"journal, line {entry.number}: the chain is broken: the line was edited{or_older}")
    return faults


def _faults_of_aliases(
    entries: list[Entry], tags: Mapping[str, str], aliases: Mapping[str, int], existing: set[int]
) -> list[str]:
    last = entries[-1] if entries else Entry(0, "", None, None, "", "", "", "")
    if last.action == DAMAGED:
        return []
    if last.number and tags.get(APPLIED) != last.key:
        return [f"the move of line {last.number} was interrupted; the next command that needs the champion finishes it"]
    faults: list[str] = []
    for alias, number in (("champion", last.version), ("previous", last.previous)):
        if aliases.get(alias) != number and (number is None or number in existing or alias == "champion"):
            faults.append(f"the alias {alias} is {title(aliases.get(alias))}, and the journal says {title(number)}")
    return faults


def _deletions(entries: list[Entry], known: set[int]) -> list[str]:
    mentioned = {entry.version for entry in entries if entry.version is not None}
    return [f"version {number} was champion and has been deleted" for number in sorted(mentioned - known)]


def _faults_of_verdicts(entries: list[Entry], versions: list[Version]) -> list[str]:
    reports = {version.number: version.reports for version in versions}
    faults: list[str] = []
    for entry in entries:
        if entry.verdict_sha256 and entry.version in reports:
            file = reports[entry.version] / verdict_file(entry.verdict_sha256)
            if not file.is_file() or sha256(file) != entry.verdict_sha256:
                faults.append(f"journal, line {entry.number}: its verdict {file} is gone or has changed")
    return faults


def verdict_file(verdict_sha256: str) -> str:
    """Return the name of a verdict's file in the folder of a version's reports."""
    return f"verdict-{verdict_sha256[:16]}.json"
