"""Resolving dataset specs to files, folders, globs, built-in datasets or hub ids, without the network."""

import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from components.data import catalogue
from components.data.datasets import DATASETS, require_subsets
from components.data.readers import kind_of, suffixes
from components.data.sources import Source, Spec, hub_key, parse, split_spec
from components.data.subsets import files_of_rows, front_matter, select
from components.data.value_cache import cached_value
from components.errors import ConfigError, did_you_mean
from components.files import sha256, sha256_of
from components.hub import is_commit

if TYPE_CHECKING:
    from components.data.entry import Entry

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_NAMES = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}
_FOREIGN_SUFFIXES = (".gz", ".zst", ".bz2", ".xz", ".xlsx", ".yaml", ".md", ".pkl", ".npy")
MAX_ROWS = 1_000_000_000
_CACHED_HASH_MIN_BYTES = 16 << 20
"""Size from which on a file's hash is kept: a smaller file is hashed as quickly as looked up."""


@dataclass(frozen=True)
class _Lookup:
    """Where names are looked up: the arguments of `resolve`."""

    workspace: Path
    use_hf: bool
    recorded: Mapping[str, str]
    memo: Path | None
    custom: Sequence[Path]
    plugins: Sequence[Path]

    def path(self, name: str) -> Path:
        return self.workspace / Path(name).expanduser()


def resolve(
    specs: Iterable[str],
    workspace: Path,
    use_hf: bool,
    recorded: Mapping[str, str],
    memo: Path | None,
    custom: Sequence[Path] = (),
    plugins: Sequence[Path] = (),
) -> list[Source]:
    """Return the source of each spec, with its version.

    A local path has priority over a plugin, a plugin over a built-in dataset and a hub's id, and a path of that very
    name over one with a subset or a `#`.

    Args:
        recorded: commits of hub ids (`modelscope:owner/name`) that were looked up before. As in a lock file, an id
            keeps its commit, so that equal parameters give equal rows.
        memo: file that keeps the hashes of large files; with None nothing is hashed, and versions are empty.
        custom: `dataset_info.json` files, whose datasets are looked up before the built-in ones.
        plugins: the user's Python files. One that has the name of a dataset is imported.

    Raises:
        ConfigError: a file that is missing, of an unknown kind, or a link out of its folder; a folder without rows; a
            row count of zero; a plugin that cannot be imported, or has no such subset; or neither a path, a plugin nor
            a hub id.
    """
    lookup = _Lookup(workspace, use_hf, recorded, memo, custom, plugins)
    sources: list[Source] = []
    for spec in specs:
        try:
            sources.append(_resolve(spec, lookup))
        except OSError as error:
            raise ConfigError(f"dataset '{spec[:100]}': {error.strerror}") from error
    return sources


def _resolve(spec: str, lookup: _Lookup) -> Source:
    name, rows = (spec, None) if lookup.path(spec).exists() else split_spec(spec)
    if rows is not None and not 1 <= rows <= MAX_ROWS:
        raise ConfigError(f"dataset '{spec}': the number after # is how many rows to take, 1 to {MAX_ROWS:,}")
    if name.strip() and _is_local(name, lookup):
        return _local(Source(spec, name, rows, None, None), name, lookup)
    parsed = parse(spec)
    if parsed and not parsed.hub and _is_local(parsed.name, lookup):
        if parsed.revision:
            raise ConfigError(f"dataset '{spec}': '{parsed.name}' is a local path and has no revision")
        return _local(Source(spec, parsed.name, rows, None, None, subsets=parsed.subsets), parsed.name, lookup)
    if parsed and not parsed.hub and DATASETS.has(parsed.name, lookup.plugins):
        return _of_plugin(spec, parsed, lookup)
    entry = catalogue.find(parsed.name, lookup.custom) if parsed else None
    if parsed and entry:
        return _built_in(spec, parsed, entry, lookup)
    if not (parsed and parsed.hub) and _looks_like_a_path(name, lookup):
        raise ConfigError(f"dataset '{name}': no such file{_nearest(lookup.path(name))}")
    if not parsed or not HUB_ID.fullmatch(parsed.name):
        raise ConfigError(
            f"dataset '{spec}': neither a file that exists nor a hub id (owner/name#500) nor a dataset of "
            f"--external_plugins{_advice(parsed, lookup) if parsed else ''}"
        )
    return _on_hub(spec, parsed, parsed.name, lookup)


def _advice(parsed: Spec, lookup: _Lookup) -> str:
    """Return what may be meant by a name that nothing has.

    Raises:
        ConfigError: a plugin has the name, and makes no rows.
    """
    if parsed.hub:
        return did_you_mean(parsed.name, catalogue.names())
    if file := next((file for file in lookup.plugins if file.stem == parsed.name), None):
        DATASETS.load(file.stem, lookup.plugins)
    if lookup.path(f"{parsed.name}.py").is_file():
        return f"; if {parsed.name}.py makes the rows, add --external_plugins {parsed.name}.py"
    plugins = [*DATASETS.names(), *(file.stem for file in lookup.plugins)]
    return did_you_mean(parsed.name, [*catalogue.names(), *plugins])


def _of_plugin(spec: str, parsed: Spec, lookup: _Lookup) -> Source:
    """Return the source whose rows a plugin makes; its version is the hash of the plugin's file."""
    if parsed.revision:
        raise ConfigError(f"dataset '{spec}': '{parsed.name}' is a plugin and has no revision")
    plugin, file = DATASETS.load(parsed.name, lookup.plugins), DATASETS.file(parsed.name, lookup.plugins)
    require_subsets(spec, plugin, parsed.subsets, file)
    return Source(
        spec, parsed.name, parsed.rows, None, sha256(file), ((file, parsed.name),), parsed.subsets, plugin=plugin
    )


def _is_local(name: str, lookup: _Lookup) -> bool:
    return lookup.path(name).exists() or bool(_matches(name, lookup.workspace))


def _built_in(spec: str, parsed: Spec, entry: "Entry", lookup: _Lookup) -> Source:
    parts = tuple(entry.parts(parsed.subsets))
    rows = parsed.rows or entry.samples
    if entry.file:
        source = Source(spec, entry.name, rows, None, None, subsets=parsed.subsets, parts=parts)
        return _local(source, str(entry.file), lookup)
    hub = _hub(parsed, lookup)
    hub_id = {"huggingface": entry.huggingface, "modelscope": entry.modelscope}[hub]
    if not hub_id:
        (other,) = {"hf", "ms"} - {"hf" if hub == "huggingface" else "ms"}
        raise ConfigError(f"dataset '{parsed.name}' is not on {_HUB_NAMES[hub]}; write {other}::{entry.name}")
    subsets = tuple(name for part in parts for name in part.subsets)
    return replace(_on_hub(spec, parsed, hub_id, lookup), rows=rows, subsets=subsets, parts=parts)


def _hub(parsed: Spec, lookup: _Lookup) -> str:
    return parsed.hub or ("huggingface" if lookup.use_hf else "modelscope")


def _on_hub(spec: str, parsed: Spec, name: str, lookup: _Lookup) -> Source:
    hub, revision = _hub(parsed, lookup), parsed.revision
    commit = revision if is_commit(revision) else lookup.recorded.get(hub_key(hub, name, revision))
    return Source(spec, name, parsed.rows, hub, commit, subsets=parsed.subsets, revision=revision)


def _local(source: Source, name: str, lookup: _Lookup) -> Source:
    """Return a source with the files at a path, and the hash of their bytes."""
    path = lookup.path(name)
    if path.is_dir():
        names = _names_below(path, name)
        chosen = select(names, front_matter(path / "README.md"), source.subsets, "train", name)
        _refuse_other_kinds(names, chosen, name)
        files = {f"{name.rstrip('/')}/{inside}": path / inside for inside in chosen}
    else:
        if source.subsets and not source.parts:
            raise ConfigError(f"dataset '{source.spec}': '{name}' is not a folder and has no subsets")
        if path.exists() and not path.is_file():
            raise ConfigError(
                f"dataset '{name}': is no regular file (a pipe, a device); write the rows to a file first"
            )
        files = {name: path} if path.is_file() else _matches(name, lookup.workspace)
        for known_as, file in files.items():
            if not kind_of(known_as):
                code = f"; if it makes the rows, write --external_plugins {known_as} --dataset {file.stem}"
                raise ConfigError(
                    f"dataset '{known_as}': not a kind of file that is read ({', '.join(suffixes())})"
                    f"{code if file.suffix == '.py' else ''}"
                )
    hashes = [_file_sha256(file, lookup.memo) for file in files.values()]
    version = hashes[0] if path.is_file() else sha256_of(list(zip(files, hashes, strict=True)))
    return replace(source, version=version, files=tuple((file, known_as) for known_as, file in files.items()))


def _refuse_other_kinds(names: list[str], chosen: list[str], name: str) -> None:
    """Refuse a folder with files of several kinds, which may hold the same rows twice."""
    kinds = {kind_of(chosen[0]), ".tar"}  # beside rows, an archive may hold their media
    if others := [other for other in files_of_rows(names) if kind_of(other) not in kinds]:
        raise ConfigError(
            f"dataset '{name}': holds files of several kinds, {chosen[0]} and {others[0]}, which may be the same rows "
            f"twice; name the files of one kind, such as '{name.rstrip('/')}/*{PurePath(chosen[0]).suffix}'"
        )


def _names_below(folder: Path, name: str) -> list[str]:
    """Return the relative names of the files in a folder and its subfolders, hidden ones aside."""
    names: list[str] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [inner for inner in folders if not inner.startswith(".")]
        paths = [Path(parent) / inner for inner in files if not inner.startswith(".")]
        for path in [*paths, *(Path(parent) / inner for inner in folders)]:
            _refuse_link_out(path, folder, name)
        names += [path.relative_to(folder).as_posix() for path in paths]
    return names


def _matches(pattern: str, workspace: Path) -> dict[str, Path]:
    """Return the files that a glob matches, by name; none where the pattern is no glob."""
    fixed = Path(re.split(r"[*?\[]", pattern)[0] + "_").parent
    if not glob.has_magic(pattern):
        return {}
    expanded = str(Path(pattern).expanduser())
    names = sorted(glob.glob(expanded, root_dir=workspace, recursive=True))  # noqa: PTH207  (it may be absolute)
    files = {name: workspace / name for name in names if (workspace / name).is_file()}
    for path in files.values():
        _refuse_link_out(path, workspace / fixed.expanduser(), pattern)
    return files


def _refuse_link_out(path: Path, folder: Path, name: str) -> None:
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        inside = path.relative_to(folder)
        raise ConfigError(f"dataset '{name}': {inside} is a link that leads out of the folder; put a copy in its place")


def _nearest(path: Path) -> str:
    """Return the name nearest to the first folder on the way that does not exist, as `did_you_mean`."""
    while not path.parent.is_dir():
        path = path.parent
    return did_you_mean(path.name, (sibling.name for sibling in path.parent.iterdir()))


def _looks_like_a_path(name: str, lookup: _Lookup) -> bool:
    suffixed = kind_of(name) is not None or Path(name.lower()).suffix in _FOREIGN_SUFFIXES
    below = "/" in name and lookup.path(name).parent.is_dir()
    return suffixed or below or name.startswith((".", "/", "~")) or ("://" not in name and glob.has_magic(name))


def _file_sha256(path: Path, memo: Path | None) -> str:
    if memo is None:
        return ""
    state = path.stat()
    if state.st_size < _CACHED_HASH_MIN_BYTES:
        return sha256(path)
    return cached_value(memo, f"file {path.resolve()}", [state.st_size, state.st_mtime_ns], lambda: sha256(path))
