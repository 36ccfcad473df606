"""Dataset specs, `[hub::]id_or_path[:subset[/subset]][@revision][#rows]`, and the sources that they stand for."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.errors import ConfigError, did_you_mean
from components.files import MANIFEST, read_json, sha256, sha256_of

if TYPE_CHECKING:
    from components.data.datasets import DatasetMethod
    from components.data.entry import Entry

HUBS = {"hf": "huggingface", "huggingface": "huggingface", "ms": "modelscope", "modelscope": "modelscope"}
_SPEC = re.compile(r"(?:(\w+)::)?([^:@#]+)(?::([^:@#]+))?(?:@([^:@#]+))?(?:#(\d+))?")


class Spec(NamedTuple):
    """The parts of a dataset spec; a part that is not written is None or empty."""

    hub: str | None
    name: str
    subsets: tuple[str, ...]
    revision: str | None
    rows: int | None


@dataclass(frozen=True)
class Source:
    """A dataset spec and the bytes that it stands for.

    Attributes:
        version: the sha256 of local files, or the commit of a hub's repository; None for a hub id not looked up yet.
        files: local files with the names that people know them by, empty for a hub id; of a plugin, its own file.
        revision: the branch, tag or commit in the spec.
        parts: the catalogue's entries that read the rows of each subset.
        plugin: the module that makes the rows, or None where `files` hold them.
    """

    spec: str
    name: str
    rows: int | None
    hub: str | None
    version: str | None
    files: tuple[tuple[Path, str], ...] = ()
    subsets: tuple[str, ...] = ()
    revision: str | None = None
    parts: "tuple[Entry, ...]" = ()
    plugin: "DatasetMethod | None" = None

    def provenance(self) -> dict[str, Any]:
        """Return where the rows are from, for a manifest: their hub's commit, their files' hash, or the plugin's file
        and its hash."""
        if self.hub:
            return {"asked": self.revision, "revision": self.version}
        return ({"plugin": self.files[0][0].name} if self.plugin else {}) | {"sha256": self.version}


def parse(spec: str) -> Spec | None:
    """Return the parts of a spec, or None where the text is no spec.

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
    """Return the name and the number of rows of `name#500`; a `#` without a number behind it belongs to the name."""
    name, mark, rows = spec.rpartition("#")
    return (name, int(rows)) if mark and rows.isdecimal() else (spec, None)


def row_location(spec: str, row: int) -> str:
    """Return the place of a dataset's row for people: `train.jsonl:17`."""
    return f"{split_spec(spec)[0]}:{row}"


def hub_key(hub: str, name: str, revision: str | None) -> str:
    """Return the key of a hub id's commit among the recorded commits."""
    return f"{hub}:{name}@{revision}" if revision else f"{hub}:{name}"


def recorded_commits(*folders: Path) -> dict[str, str]:
    """Return the commits of hub ids in the manifests of earlier outputs, for `resolve`."""
    commits: dict[str, str] = {}
    for folder in folders:
        try:
            sources = read_json(folder / MANIFEST)["sources"]
            commits |= {hub_key(s["hub"], s["name"], s["asked"]): s["revision"] for s in sources if s["hub"]}
        except (OSError, ValueError, KeyError, TypeError):  # none, or damaged
            continue
    return commits


def inputs_sha256(sources: Iterable[Source], parameters: Any) -> str | None:
    """Return the hash of all that decides the rows: versions, parameters, code. None while a version is unknown."""
    versions = [(s.spec, s.hub, s.name, s.version) for s in sources]
    if any(source[-1] is None for source in versions):
        return None
    return sha256_of([versions, parameters, _code_sha256()])


def _code_sha256() -> str:
    folder = Path(__file__).parent
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".yaml"))
    return sha256_of({path.relative_to(folder).as_posix(): sha256(path) for path in files})
