"""The rows of a source, as they are to be: renamed, converted, their placeholders filled."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.config.groups.data import Data
from components.data import catalogue
from components.data.hub_files import HubFiles, locate_files
from components.data.placeholders import filler
from components.data.readers import read
from components.data.sources import Source, where
from components.data.spool import Spool
from components.errors import ConfigError, DataGateError, did_you_mean

if TYPE_CHECKING:
    from components.data.entry import Entry

Raw = dict[str, Any]


class Loaded(NamedTuple):
    """The rows of one source, `size` of them from `start` on in the spool; `source.version` is known.

    `left_out` counts the rows that a built-in dataset's converter passed over.
    """

    source: Source
    start: int
    size: int
    left_out: int
    licence: str | None

    def description(self) -> dict[str, Any]:
        """What a manifest says of it."""
        source = self.source
        named = {"spec": source.spec, "name": source.name, "hub": source.hub, "subsets": list(source.subsets)}
        version = {"asked": source.asked, "revision": source.version} if source.hub else {"sha256": source.version}
        counts = {"rows": self.size + self.left_out, "left_out": self.left_out}
        return named | version | {"licence": self.licence} | counts


class Preparer:
    """Renames, converts and fills rows, and sees which renames were of use."""

    def __init__(self, data: Data) -> None:
        self.columns = data.columns
        self.fill = filler(data.model_name, data.model_author)
        self.unused, self.seen = set(data.columns), set[str]()

    def __call__(self, name: str, number: int, row: Raw, written: bytes | None, entry: "Entry | None") -> bytes | None:
        """Row `number` of the dataset `name` as it is to be, as JSON; None when the built-in dataset leaves it out.

        Args:
            written: the row as it stands in the file, where that is JSON.

        Raises:
            ConfigError: a placeholder without a value.
            DataGateError: a row that is not as the built-in dataset's are.
        """
        import orjson

        try:
            kept = self._changed(row, entry) if entry or self.columns else row
        except ValueError as error:
            raise DataGateError(f"{where(name, number)}: {error}") from error
        if kept is None:
            return None
        raw = written if written and kept is row else orjson.dumps(kept, default=_plain)
        if b"{{" in raw:
            unescaped = orjson.dumps(kept, default=_plain).decode()
            raw = self.fill(unescaped, where(name, number)).encode()
        return raw

    def _changed(self, row: Raw, entry: "Entry | None") -> Raw | None:
        if self.columns:
            self.unused -= row.keys()
            self.seen |= row.keys()
            renamed = {self.columns.get(key, key): value for key, value in row.items()}
            if len(renamed) < len(row) and (lost := _lost(row, self.columns)):
                raise ConfigError(f"columns: '{lost[0]}' and '{lost[1]}' would both be '{lost[2]}'; '_' leaves one out")
            row = renamed
        return entry.convert(row) if entry else row

    def check_columns(self) -> None:
        """See that every column to be renamed was there. Raises: ConfigError."""
        for column in sorted(self.unused):
            raise ConfigError(f"columns: no dataset has a column '{column}'{did_you_mean(column, self.seen)}")


class Loader:
    """Reads sources into one spool, with one set of renames and placeholders."""

    def __init__(self, data: Data, scratch: Path) -> None:
        self.spool = Spool(scratch)
        self.prepare = Preparer(data)

    def load(self, source: Source) -> Loaded:
        """Append the rows of a source to the spool.

        Raises:
            ConfigError: a placeholder without a value, an unknown hub id.
            DataGateError: a malformed file, a row that is not as the built-in dataset's are, or no row at all.
            MartletError: a hub that does not answer.
        """
        source, licence, parts = _located(source)
        start, left_out = len(self.spool), 0
        files = [(path, name, entry) for inside, entry in parts for path, name in inside]
        for path, name, entry in files:
            # Where there are several files, a row is found again by its own.
            self.spool.begin(source.spec if len(files) == 1 else name)
            for number, row, written in read(path, name):
                raw = self.prepare(name, number, row, written, entry)
                if raw is None:
                    left_out += 1
                else:
                    self.spool.append(number, raw)
        size = len(self.spool) - start
        if not size:
            why = f"; its converter left out all {left_out} rows" if left_out else "; it needs at least one row"
            raise DataGateError(f"{source.name}: the dataset is empty{why}")
        return Loaded(source, start, size, left_out, licence)


Part = tuple[Sequence[tuple[Path, str]], "Entry | None"]


def _located(source: Source) -> tuple[Source, str | None, list[Part]]:
    """The files of a source, each part with the entry that reads it; the source with its version; the licence."""
    if not source.hub:
        return source, declared_licence(source), [(source.files, next(iter(source.parts), None))]
    source, licence, located = on_hub(source)
    parts: list[Part] = [
        (
            [(path, f"{source.name}/{name}") for path, name in zip(files.fetch(), files.names, strict=True)],
            entry,
        )
        for files, entry in located
    ]
    return source, licence, parts


def declared_licence(source: Source) -> str | None:
    """The licence that the catalogue knows of."""
    return next((entry.licence for entry in source.parts), None)


def on_hub(source: Source) -> "tuple[Source, str | None, list[tuple[HubFiles, Entry | None]]]":
    """Return a hub's dataset with its commit, its licence, and the files of each part with the entry that reads them.

    Raises:
        ConfigError, MartletError: as `locate_files`.
    """
    revision, licence = source.version or source.asked, declared_licence(source)
    parts: list[tuple[HubFiles, Entry | None]] = []
    for entry in source.parts or (None,):
        subsets, split = (entry.subsets, entry.split) if entry else (source.subsets, "train")
        files = locate_files(str(source.hub), source.name, revision, subsets, split=split, similar=catalogue.names())
        revision, licence = files.commit, files.licence or declared_licence(source)
        parts.append((files, entry))
    return replace(source, version=revision), licence, parts


def _lost(row: Raw, columns: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Two columns of a row that would have one name, unless that leaves them out."""
    taken: dict[str, str] = {}
    for key in row:
        name = columns.get(key, key)
        if name != "_" and name in taken:
            return taken[name], key, name
        taken[name] = key
    return None


def _plain(value: Any) -> str:
    """Values that JSON has no kind for: bytes as UTF-8 or else base64, others (dates, decimals) as their text."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        from base64 import b64encode

        return b64encode(value).decode()
