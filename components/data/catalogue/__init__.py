"""The built-in datasets: what each is called on either hub, what it holds, and how its rows are read.

    entry = find("swift/self-cognition")          # either hub's id, or the short name where it is the only one
    for part in entry.parts(["qwen3"]):           # one entry for each subset asked for, or for the default one
        row = part.convert(raw)                   # None: the row is left out

A file per task lists the entries (`sft.yaml`: supervised chats, …). What an entry may say are the fields of `Entry`
and, under `subsets`, what differs in a subset, and `of`, what the hub calls it. An entry without columns and converter
is one whose rows the formats recognise by themselves.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from components.data.dataset_info import find_in
from components.data.entry import Entry, Raw

HUGE = "huge"
"""The tag of datasets with more rows than anybody counted: take some of them (`#10000`), or stream them."""


@cache
def entries() -> tuple[Entry, ...]:
    """All built-in datasets, by name."""
    from ruamel.yaml import YAML

    loader = YAML(typ="safe")  # parses in C: 20 ms for all
    files = sorted(Path(__file__).parent.glob("*.yaml"))
    built = (_entry(file.stem, described) for file in files for described in loader.load(file))
    return tuple(sorted(built, key=lambda entry: entry.name.lower()))


def _entry(task: str, described: Raw) -> Entry:
    subsets: Any = described.pop("subsets", ())
    differing = {name: what for name, what in subsets.items() if what} if isinstance(subsets, dict) else {}
    name = described.get("modelscope") or described["huggingface"]
    values: Raw = {"task": task, **described, **{key: tuple(described.get(key, ())) for key in ("tags", "extra")}}
    return Entry(name=name, subsets=tuple(subsets), differing=differing, **values)


def find(name: str, custom: Sequence[Path] = ()) -> Entry | None:
    """The dataset of this name: one of the `dataset_info.json` files `custom`, a hub's id, or a short name.

    Ids are compared without regard to case; a short name is what follows the owner, where only one dataset is so
    called. A name that is not known is not an error: its rows are for the formats to recognise.

    Raises:
        ConfigError: a `dataset_info.json` that cannot be read or is wrong.
    """
    for path in custom:
        if entry := find_in(path, name):
            return entry
    return _index().get(name.lower())


@cache
def _index() -> dict[str, Entry]:
    by_id = {name.lower(): entry for entry in entries() for name in _ids(entry)}
    short: dict[str, dict[str, Entry]] = {}
    for name, entry in by_id.items():
        short.setdefault(name.rpartition("/")[2], {})[entry.name] = entry
    return {name: next(iter(so_called.values())) for name, so_called in short.items() if len(so_called) == 1} | by_id


def _ids(entry: Entry) -> list[str]:
    return [name for name in (entry.modelscope, entry.huggingface) if name]


def names() -> list[str]:
    """The ids of all built-in datasets on both hubs, for naming the nearest one to a name that is not known."""
    return sorted({name for entry in entries() for name in _ids(entry)}, key=str.lower)


def search(words: Iterable[str], task: str | None = None) -> list[Entry]:
    """The built-in datasets that have every word in their names, tags or subsets, whatever its case."""
    lowered = [word.lower() for word in words]
    return [
        entry
        for entry in entries()
        if task in (None, entry.task, *(what.get("task") for what in entry.differing.values()))
        and all(any(word in text for text in _texts(entry)) for word in lowered)
    ]


def _texts(entry: Entry) -> list[str]:
    return [text.lower() for text in (*_ids(entry), *entry.tags, *entry.subsets)]


def tasks() -> list[str]:
    """The tasks that datasets are listed under."""
    return sorted({entry.task for entry in entries()})
