"""Which files of a repository hold its training rows, and which of them a subset.

A repository says so in the front matter of its README.md, under `configs`
(https://huggingface.co/docs/hub/datasets-manual-configuration); where it does not, the names of folders and files do.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from components.data.readers import kind_of, suffixes
from components.errors import ConfigError, did_you_mean
from components.files import read_json


class _AbsentError(Exception):
    """The wanted files are not there."""


_NOT_ROWS = {
    "dataset_infos.json", "dataset_info.json", "configuration.json", "config.json",
    "state.json",
    "dataset_dict.json",
    "readme.txt", "license.txt", "licence.txt", "requirements.txt",
}  # fmt: skip
_HELD_OUT = {"test", "validation", "valid", "val", "dev", "eval"}
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(?:-[0-9a-f]{8,})?(\..+)")
_WILD = re.compile(r"\*\*/|\*\*|\*|\?|\[[^\]/]+\]|.", re.DOTALL)


def select(
    names: Iterable[str], metadata: dict[str, Any], subsets: Sequence[str], split: str, repo_id: str
) -> list[str]:
    """Return the files that hold the rows of `subsets` in a split.

    Raises:
        ConfigError: an unknown subset or split, files that are declared and not there, a missing shard, or no file of
            rows.
    """
    names, configs = sorted(names), _configs(metadata)
    try:
        parts = [
            training_files(names, split) if name is None else _of_subset(names, configs, name, split)
            for name in _expanded(configs, subsets)
        ]
        files = list(dict.fromkeys(name for part in parts for name in part))
        _check_shards(files)
    except _AbsentError as error:
        raise ConfigError(f"dataset '{repo_id}': {error.args[0]}") from None
    if not files:
        kinds = ", ".join(sorted(suffixes()))
        raise ConfigError(f"dataset '{repo_id}' holds no file of rows ({kinds}); name another, or a local file")
    return files


def _expanded(configs: dict[str, dict[str, Any]], subsets: Sequence[str]) -> list[str | None]:
    """Return the subsets to read, with ms-swift's words `all` and `default` expanded; None is all training files."""
    marked = [name for name, config in configs.items() if config.get("default") is True]
    aliases: dict[str, list[str | None]] = {
        "all": [*configs] or [None],
        "default": [*(marked[:1] or (configs if len(configs) == 1 else [None]))],
    }
    return [
        name
        for subset in subsets or ["default"]
        for name in ([subset] if subset in configs else aliases.get(subset, [subset]))
    ]


def training_files(names: Iterable[str], split: str = "train") -> list[str]:
    """Return the files of a repository that hold its training rows: of one kind, without held-out splits."""
    rows = [name for name in sorted(names) if _kind(name)]
    chosen = next((kind for kind in ([n for n in rows if _kind(n) == suffix] for suffix in suffixes()) if kind), [])
    return _of_split(chosen, split)


def _of_split(names: Sequence[str], split: str) -> list[str]:
    """Return the names, of files or of splits, that belong to `split`."""
    if split in names:
        return [split]
    if split != "train":
        files = [name for name in names if _holds(name, split)]
        if names and not files:
            raise _AbsentError(f"has no split '{split}'{did_you_mean(split, names)}; it has {_some(names)}")
        return files
    train = [name for name in names if "train" in _words(name)]
    return train or [name for name in names if not _words(name) & _HELD_OUT] or list(names)


def files_of_rows(names: Iterable[str]) -> list[str]:
    """Return the files that hold rows of any kind, held-out splits aside."""
    return [name for name in sorted(names) if _kind(name) and not _words(name) & _HELD_OUT]


def _kind(name: str) -> str | None:
    """Return the suffix of a file of rows, compression aside, or None for any other file."""
    if name.startswith(".") or "/." in name or name.lower().rpartition("/")[2] in _NOT_ROWS:
        return None
    return kind_of(name)


def _words(name: str) -> set[str]:
    return set(re.split("[^a-z]+", name.lower()))


def _holds(name: str, part: str) -> bool:
    return bool(re.search(rf"(?<![a-z0-9]){re.escape(part.lower())}(?![a-z0-9])", name.lower()))


def _some(names: Iterable[str]) -> str:
    names = list(dict.fromkeys(names))
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def front_matter(card: Path) -> dict[str, Any]:
    """Return `license` and `configs` of the YAML at the top of a README.md; {} where that is absent or no YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    text = card.read_text("utf-8", errors="replace") if card.is_file() else ""
    match = re.match(r"\ufeff?---\s*\n(.*?)\n---", text, re.DOTALL)
    lines = re.findall(r"^(?:license|configs):.*?(?=^[^\s#-]|\Z)", match[1], re.M | re.DOTALL) if match else []
    try:
        # In pure Python what is nested too deep is an error; the parser in C would end the process.
        matter = YAML(typ="safe", pure=True).load("\n".join(lines))
    except (YAMLError, ValueError, RecursionError):  # a date that does not exist is a ValueError
        return {}
    return matter or {}


def listed_configs(meta: Path) -> list[dict[str, Any]]:
    """Return what ModelScope's own `NAME.json` declares, as the `configs` of a front matter; [] for any other file.

    Its form is `{subset: {split: {"meta": FILE}}}`.
    """
    try:
        return [
            {"config_name": subset, "data_files": [{"split": name, "path": file["meta"]} for name, file in of.items()]}
            for subset, of in read_json(meta).items()
        ]
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return []


def _configs(matter: dict[str, Any]) -> dict[str, dict[str, Any]]:
    entries = matter.get("configs")
    entries = entries if isinstance(entries, list) else []
    return {str(entry["config_name"]): entry for entry in entries if isinstance(entry, dict) and "config_name" in entry}


def _of_subset(names: Sequence[str], configs: dict[str, dict[str, Any]], subset: str, split: str) -> list[str]:
    if subset in configs:
        return _of_config(names, configs[subset], subset, split)
    rows = [name for name in names if _kind(name)]
    inside = [name for name in rows if subset in name.split("/")[:-1]]
    files = [] if configs else inside or [name for name in rows if _holds(name.rpartition("/")[2], subset)]
    if not files:
        folders = {folder for name in rows for folder in name.split("/")[:-1]}
        choices = list(configs) or sorted(folders or {PurePosixPath(name).name.split(".")[0] for name in rows})
        raise _AbsentError(
            f"has no subset '{subset}'{did_you_mean(subset, choices)}; it has {_some(choices) or 'none'}"
        )
    return training_files(files, split)


def _of_config(names: Sequence[str], config: dict[str, Any], subset: str, split: str) -> list[str]:
    folder = str(config.get("data_dir") or "").strip("./")
    prefix = f"{folder}/" if folder else ""
    inside = [name for name in names if name.startswith(prefix)]
    if not config.get("data_files"):
        return training_files(inside, split)
    patterns = _patterns(config["data_files"])
    files: list[str] = []
    for pattern in (pattern for name in _of_split(list(patterns), split) for pattern in patterns[name]):
        expression = re.compile(_regular(prefix + pattern.removeprefix("./")))
        matching = [name for name in inside if _kind(name) and expression.fullmatch(name)]
        if not matching:
            raise _AbsentError(f"its subset '{subset}' is declared as '{pattern}', and there is no such file of rows")
        files += matching
    return files


def _patterns(data_files: Any) -> dict[str, list[str]]:
    """Return the patterns of each split, from any of the ways to write them."""
    if isinstance(data_files, dict):
        data_files = [{"split": split, "path": path} for split, path in data_files.items()]
    splits: dict[str, list[str]] = {}
    for item in data_files if isinstance(data_files, list) else [data_files]:
        split, path = (item.get("split"), item.get("path")) if isinstance(item, dict) else ("train", item)
        splits.setdefault(str(split), []).extend(map(str, path if isinstance(path, list) else [path]))
    return splits


def _regular(pattern: str) -> str:
    """Return a glob as a regular expression: `*` and `?` stay within a folder, `**` does not."""
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}

    def translated(match: re.Match[str]) -> str:
        token = match[0]
        if token.startswith("[") and len(token) > 2:
            return (
                "["
                + ("^" if token[1] == "!" else "")
                + re.escape(token[1:-1].removeprefix("!")).replace(r"\-", "-")
                + "]"
            )
        return wild.get(token) or re.escape(token)

    return _WILD.sub(translated, pattern)


def _check_shards(names: Iterable[str]) -> None:
    """See that of every `train-00000-of-00003.parquet` all are there: without one the dataset is silently shorter."""
    shards: dict[tuple[str, str, str], set[int]] = {}
    for name in names:
        if match := _SHARD.fullmatch(name):
            stem, number, total, suffix = match.groups()
            shards.setdefault((stem, total, suffix), set()).add(int(number))
    for (stem, total, suffix), present in shards.items():
        if missing := sorted(set(range(int(total))) - present):
            raise _AbsentError(
                f"lacks {len(missing)} of its {int(total)} shards, the first is "
                f"{stem}-{missing[0]:05d}-of-{total}{suffix}; take a whole copy, or another revision of it"
            )
