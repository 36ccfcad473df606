"""A dataset that is known by name: where it lies on either hub, and how its rows are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from components.errors import ConfigError

Raw = dict[str, Any]
_MEDIA = ("images", "videos", "audios")


@dataclass(frozen=True)
class Entry:
    """A dataset that is known by name."""

    name: str
    task: str = "sft"
    modelscope: str | None = None
    huggingface: str | None = None
    file: Path | None = None
    """A local file or folder of rows, from a `dataset_info.json`."""
    subsets: tuple[str, ...] = ()
    differing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Subsets whose rows are read otherwise: what differs, and `of`, the hub's own name for them."""
    split: str = "train"
    revision: str | None = None
    rows: int | None = None
    samples: int | None = None
    """How many of the rows to take where the spec does not say (`num_samples` of a `dataset_info.json`)."""
    mean_tokens: float | None = None
    """Mean length of a row as ms-swift gives it, with Qwen2.5's tokenizer."""
    tags: tuple[str, ...] = ()
    licence: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    """The hub's column names and what they are read as; None leaves a column out."""
    extra: tuple[str, ...] = ()
    """Columns, by the hub's names, that are kept for rewards beside an answer. (A prompt alone keeps them all.)"""
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Columns that are the same in every row."""
    converter: str | Callable[[Raw], Raw | None] | None = None
    help: str | None = None

    @property
    def default_subsets(self) -> tuple[str, ...]:
        """What is read when no subset is named: `default`, or the only one there is; else none, and one must be."""
        return ("default",) if "default" in self.subsets else self.subsets if len(self.subsets) == 1 else ()

    def parts(self, subsets: Sequence[str] = ()) -> list["Entry"]:
        """One entry for each subset to read: its `subsets` is what to ask the hub for, its `convert` reads its rows.

        `all` stands for all rows, each once: of subsets that read the same rows in several ways, the first. A name that
        is not listed is the hub's to know.

        Raises:
            ConfigError: none is named, and there are several and no default.
        """
        if list(subsets) == ["all"] and "all" not in self.subsets:
            read: dict[tuple[str, str], str] = {}
            for name in self.subsets:
                differing = self.differing.get(name, {})
                read.setdefault((differing.get("of", name), differing.get("split", self.split)), name)
            subsets = list(read.values())
        subsets = subsets or self.default_subsets
        if not subsets and self.subsets:
            some = ", ".join(self.subsets[:20]) + (", …" if len(self.subsets) > 20 else "")
            raise ConfigError(
                f"dataset '{self.name}' has several subsets ({some}); say which: {self.name}:{some.split(',')[0]}, "
                f"several as a/b, or {self.name}:all"
            )
        return [self._part(name) for name in subsets] or [self]

    def _part(self, name: str) -> "Entry":
        differing = dict(self.differing.get(name, {}))
        return replace(self, subsets=(differing.pop("of", name),), differing={}, **differing)

    def convert(self, raw: Raw) -> Raw | None:
        """A row of the hub as one that `formats.to_row` reads, or None to leave it out.

        A row that is not as this dataset's rows are known to be goes on without its converter: the formats read it, or
        say what is wrong with it.
        """
        row: Raw = {}
        for key, value in raw.items():
            renamed = self.columns.get(key, key)
            if renamed is not None:
                row[renamed] = value
        row |= self.constants
        for key in _MEDIA:
            if row.get(key) and not isinstance(row[key], list):
                row[key] = [row[key]]
        if self.extra:
            row["extra"] = {key: raw[key] for key in self.extra if raw.get(key) is not None}
        try:
            return self._converter()(row) if self.converter else row
        except (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError):
            return row

    def _converter(self) -> Callable[[Raw], Raw | None]:
        return _function(self.converter) if isinstance(self.converter, str) else self.converter or (lambda raw: raw)


@cache
def _function(name: str) -> Callable[[Raw], Raw | None]:
    module, _, function = name.partition(".")
    return getattr(import_module(f"components.data.catalogue.converters.{module}"), function)
