"""Dataset specs, and what each was found to be: `[hub::]id_or_path[:subset[/subset]][@revision][#rows]`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.data.readers import KINDS
from components.errors import ConfigError, did_you_mean
from components.files import MANIFEST, read_json, sha256, sha256_of

if TYPE_CHECKING:
    from components.data.entry import Entry

SUFFIXES = tuple(KINDS)
"""Kinds of files that are read, the preferred one first where a hub offers the same rows in several."""
HUBS = {"hf": "huggingface", "huggingface": "huggingface", "ms": "modelscope", "modelscope": "modelscope"}
_SPEC = re.compile(r"(?:(\w+)::)?([^:@#]+)(?::([^:@#]+))?(?:@([^:@#]+))?(?:#(\d+))?")


class Spec(NamedTuple):
    """A dataset spec taken apart; what it does not say is None or empty."""

    hub: str | None
    name: str
    subsets: tuple[str, ...]
    revision: str | None
    rows: int | None


@dataclass(frozen=True)
class Source:
    """A dataset spec and the bytes that it stands for.

    `version` is the sha256 of local files or the commit of a hub's repository; None for a hub id not looked up yet.
    `files` are local files with the names that people know them by, empty for a hub id. `asked` is the branch, tag or
    commit in the spec. `parts` are the catalogue's entries that say how the rows of each subset are read.
    """

    spec: str
    name: str
    rows: int | None
    hub: str | None
    version: str | None
    files: tuple[tuple[Path, str], ...] = ()
    subsets: tuple[str, ...] = ()
    asked: str | None = None
    parts: "tuple[Entry, ...]" = ()


def parse(spec: str) -> Spec | None:
    """Take a spec apart; None when it is not written like one.

    Raises:
        ConfigError: an unknown hub.
    """
    match = _SPEC.fullmatch(spec)
    if not match:
        return None
    hub, name, subsets, revision, rows = match.groups()
    if hub and hub not in HUBS:
        raise ConfigError(f"dataset '{spec}': no hub '{hub}'{did_you_mean(hub, HUBS)}; write hf:: or ms::")
    names = tuple(part for part in (subsets or "").split("/") if part)
    return Spec(HUBS[hub] if hub else None, name, names, revision, int(rows) if rows else None)


def split_spec(spec: str) -> tuple[str, int | None]:
    """Split `name#500` into its name and number of rows; a `#` that no number follows belongs to the name."""
    name, mark, rows = spec.rpartition("#")
    return (name, int(rows)) if mark and rows.isdecimal() else (spec, None)


def where(spec: str, row: int) -> str:
    """How a person finds a row of a spec: `train.jsonl:17`."""
    return f"{split_spec(spec)[0]}:{row}"


def hub_key(hub: str, name: str, asked: str | None) -> str:
    """What a hub id's commit is recorded under."""
    return f"{hub}:{name}@{asked}" if asked else f"{hub}:{name}"


def recorded_sources(*folders: Path) -> dict[str, str]:
    """The commits of hub ids that the manifests of earlier outputs name, for `resolve`."""
    found: dict[str, str] = {}
    for folder in folders:
        try:
            sources = read_json(folder / MANIFEST)["sources"]
        except (OSError, ValueError, KeyError):
            continue
        found |= {hub_key(s["hub"], s["name"], s["asked"]): s["revision"] for s in sources if s["hub"]}
    return found


def inputs_sha256(sources: Iterable[Source], parameters: Any) -> str | None:
    """Hash of everything that decides the rows: versions, parameters, this code. None while a version is unknown."""
    versions = [(s.spec, s.hub, s.name, s.version) for s in sources]
    if any(source[-1] is None for source in versions):
        return None
    return sha256_of([versions, parameters, _code_sha256()])


def _code_sha256() -> str:
    folder = Path(__file__).parent
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".yaml"))
    return sha256_of({path.relative_to(folder).as_posix(): sha256(path) for path in files})
