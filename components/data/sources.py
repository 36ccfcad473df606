"""Dataset specs: `path_or_id[#rows]`, and which bytes each stands for today."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.data.memo import remember
from components.errors import ConfigError, did_you_mean
from components.files import MANIFEST, read_json, sha256, sha256_of

SUFFIXES = (".jsonl", ".json", ".parquet", ".csv")
"""Kinds of files that are read, the preferred one first where a hub offers the same rows in several."""

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FOREIGN_SUFFIXES = (".txt", ".tsv", ".arrow", ".gz", ".zst", ".zip", ".xlsx", ".yaml", ".ndjson")
_MEMO_FROM_BYTES = 16 << 20


@dataclass(frozen=True)
class Source:
    """A dataset spec and the bytes that it stands for.

    `version` is the sha256 of a local file or the commit of a hub's repository; None for a hub id not looked up yet.
    """

    spec: str
    name: str
    rows: int | None
    hub: str | None
    version: str | None


def split_spec(spec: str) -> tuple[str, int | None]:
    """Split `name#500` into its name and number of rows; a `#` that no number follows belongs to the name."""
    name, mark, rows = spec.rpartition("#")
    return (name, int(rows)) if mark and rows.isdecimal() else (spec, None)


def where(spec: str, row: int) -> str:
    """How a person finds a row of a spec: `train.jsonl:17`."""
    return f"{split_spec(spec)[0]}:{row}"


def resolve(
    specs: Iterable[str], workspace: Path, use_hf: bool, recorded: Mapping[str, str], memo: Path
) -> list[Source]:
    """Say for every spec where it is and which version of it; the network is not touched.

    Args:
        recorded: hub ids that were looked up before (`modelscope:owner/name`) and the commit they then had. They keep
            it, as in a lock file, so that the same parameters give the same rows.
        memo: file that remembers the hashes of large files.

    Raises:
        ConfigError: a file that is missing or of an unknown kind, a row count of zero, or neither a file nor a hub id.
    """
    return [_resolve(spec, workspace, use_hf, recorded, memo) for spec in specs]


def _resolve(spec: str, workspace: Path, use_hf: bool, recorded: Mapping[str, str], memo: Path) -> Source:
    name, rows = (spec, None) if (workspace / spec).is_file() else split_spec(spec)
    if rows == 0:
        raise ConfigError(f"dataset '{spec}': the number after # is how many rows to take, at least 1")
    path = workspace / Path(name).expanduser()
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"dataset '{name}': not a kind of file that is read ({', '.join(sorted(SUFFIXES))})")
        return Source(spec, name, rows, None, _file_sha256(path, memo))
    if path.is_dir():
        raise ConfigError(f"dataset '{name}': is a folder; name the file in it{_some_of(path)}")
    if _looks_like_a_path(name, path):
        siblings = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        raise ConfigError(f"dataset '{name}': no such file{did_you_mean(path.name, siblings)}")
    if not HUB_ID.fullmatch(name):
        raise ConfigError(f"dataset '{spec}': neither a file that exists nor a hub id (owner/name, owner/name#500)")
    hub = "huggingface" if use_hf else "modelscope"
    return Source(spec, name, rows, hub, recorded.get(f"{hub}:{name}"))


def _some_of(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)[:3]
    return f", such as {', '.join(names)}" if names else ""


def _looks_like_a_path(name: str, path: Path) -> bool:
    suffixed = path.suffix.lower() in (*SUFFIXES, *_FOREIGN_SUFFIXES)
    return suffixed or name.startswith((".", "/", "~")) or ("/" in name and path.parent.is_dir())


def _file_sha256(path: Path, memo: Path) -> str:
    state = path.stat()
    if state.st_size < _MEMO_FROM_BYTES:
        return sha256(path)
    return remember(memo, f"file {path.resolve()}", [state.st_size, state.st_mtime_ns], lambda: sha256(path))


def recorded_sources(*folders: Path) -> dict[str, str]:
    """The commits of hub ids that the manifests of earlier outputs name, for `resolve`."""
    found: dict[str, str] = {}
    for folder in folders:
        try:
            sources = read_json(folder / MANIFEST)["sources"]
        except (OSError, ValueError, KeyError):
            continue
        found |= {f"{s['hub']}:{s['name']}": s["revision"] for s in sources if s["hub"]}
    return found


def inputs_sha256(sources: Iterable[Source], parameters: Any) -> str | None:
    """Hash of everything that decides the rows: versions, parameters, this code. None while a version is unknown."""
    versions = [(s.spec, s.hub, s.version) for s in sources]
    if any(version is None for _, _, version in versions):
        return None
    return sha256_of([versions, parameters, _code_sha256()])


def _code_sha256() -> str:
    folder = Path(__file__).parent
    return sha256_of({p.relative_to(folder).as_posix(): sha256(p) for p in sorted(folder.rglob("*.py"))})
