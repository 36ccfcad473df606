"""Loading a source: its rows, renamed, converted and with their placeholders filled, go into the row store."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.config.groups.data import Data
from components.data import catalogue
from components.data.datasets import rows_of
from components.data.exact_json import dumps, exact
from components.data.hub_files import HubFiles, locate_files
from components.data.media.origin import Origin
from components.data.placeholders import filler
from components.data.readers import Faults, NumberedRow, read
from components.data.row_store import RowStore
from components.data.sources import Source, row_location
from components.errors import ConfigError, DataGateError, did_you_mean

if TYPE_CHECKING:
    from components.data.entry import Entry
    from components.hub import Repository

Raw = dict[str, Any]


class LoadedSource(NamedTuple):
    """A source whose rows are in the row store.

    Attributes:
        source: the source with its version.
        start, size: the index of its first row in the store, and the number of its rows.
        left_out: rows that the converter of a built-in dataset leaves out.
    """

    source: Source
    start: int
    size: int
    left_out: int
    licence: str | None

    def description(self) -> dict[str, Any]:
        """Return the source's entry in a manifest."""
        source = self.source
        names = {"spec": source.spec, "name": source.name, "hub": source.hub, "subsets": list(source.subsets)}
        counts = {"rows": self.size + self.left_out, "left_out": self.left_out}
        return names | source.provenance() | {"licence": self.licence} | counts


class RowPreparer:
    """Prepares rows: renames columns, converts, fills placeholders.

    Attributes:
        unused: columns to rename that no row had so far.
        seen_columns: all columns so far.
    """

    def __init__(self, data: Data) -> None:
        self.columns = data.columns
        self.fill = filler(data.model_name, data.model_author)
        self.unused, self.seen_columns = set(data.columns), set[str]()

    def __call__(self, name: str, number: int, row: Raw, text: bytes | None, entry: "Entry | None") -> bytes | None:
        """Return row `number` of the dataset `name`, prepared, as JSON; None where the built-in dataset leaves it out.

        Args:
            text: the row as it stands in the file, where that is JSON.

        Raises:
            ConfigError: a placeholder without a value.
            DataGateError: a row that is not as the built-in dataset's are.
        """
        if text and (entry or self.columns or b"{{" in text):
            row = exact(row, text)
        try:
            prepared = self._converted(row, entry) if entry or self.columns else row
        except ValueError as error:
            raise DataGateError(f"{row_location(name, number)}: {error}") from error
        if prepared is None:
            return None
        raw = text if text and prepared is row else dumps(prepared)
        if b"{{" in raw:
            raw = self.fill(dumps(prepared).decode(), row_location(name, number)).encode()
        return raw

    def _converted(self, row: Raw, entry: "Entry | None") -> Raw | None:
        if self.columns:
            self.unused -= row.keys()
            self.seen_columns |= row.keys()
            renamed = {self.columns.get(key, key): value for key, value in row.items()}
            if len(renamed) < len(row) and (clash := _clash(row, self.columns)):
                one, other, name = clash
                raise ConfigError(f"columns: '{one}' and '{other}' would both be '{name}'; '_' leaves one out")
            row = renamed
        return entry.convert(row) if entry else row

    def check_columns(self) -> None:
        """See that every column to be renamed was there.

        Raises:
            ConfigError: no dataset has a column.
        """
        for column in sorted(self.unused):
            raise ConfigError(f"columns: no dataset has a column '{column}'{did_you_mean(column, self.seen_columns)}")


class Loader:
    """Reads sources into one row store, with the same renames and placeholders."""

    def __init__(self, data: Data, scratch: Path) -> None:
        self.store = RowStore(scratch)
        self.prepare = RowPreparer(data)

    def load(self, source: Source) -> LoadedSource:
        """Append the rows of a source to the store.

        Raises:
            ConfigError: a placeholder without a value, an unknown hub id, a plugin that returns no rows.
            DataGateError: a malformed file, a row that is not as the built-in dataset's are, or no row at all.
            MartletError: a hub that does not answer.
        """
        source, licence, parts = _located(source)
        start, left_out = len(self.store), 0
        files = [(path, name, entry, repository) for inside, entry, repository in parts for path, name in inside]
        for path, name, entry, repository in files:
            # Where there are several files, a row's place is its own file.
            self.store.begin(source.spec if len(files) == 1 else name, origin_of(path, repository))
            for number, row, text in rows_in(source, path, name):
                raw = self.prepare(name, number, row, text, entry)
                if raw is None:
                    left_out += 1
                else:
                    self.store.append(number, raw)
        size = len(self.store) - start
        if not size:
            reason = f"its converter left out all {left_out} rows" if left_out else "it needs at least one row"
            raise DataGateError(f"{source.name}: the dataset is empty; {reason}")
        return LoadedSource(source, start, size, left_out, licence)


def origin_of(path: Path, repository: "Repository | None" = None) -> Origin:
    """Return where the media of a file's rows may lie; `repository` has the file, if it is of a hub."""
    return Origin(path.parent.absolute(), path if path.suffix.lower() == ".zip" else None, repository)


def rows_in(
    source: Source, path: Path, name: str, on_fault: Callable[[int, str], None] | None = None
) -> Iterator[NumberedRow]:
    """Yield the numbered rows of a file of a source, or those that its plugin makes.

    The arguments, and what is raised, are those of `components.data.readers.read`.
    """
    if source.plugin:
        return rows_of(source.plugin, source.subsets, Faults(name, on_fault))
    return read(path, name, on_fault)


Part = tuple[Sequence[tuple[Path, str]], "Entry | None", "Repository | None"]
"""Files with their names, the entry that reads them, and the hub's repository that they are of."""


def _located(source: Source) -> tuple[Source, str | None, list[Part]]:
    """Return a source with its version, its licence, and its files in parts."""
    if not source.hub:
        return source, declared_licence(source), [(source.files, next(iter(source.parts), None), None)]
    source, licence, located = on_hub(source)
    parts: list[Part] = [
        (
            [(path, f"{source.name}/{name}") for path, name in zip(files.fetch(), files.names, strict=True)],
            entry,
            files.repository,
        )
        for files, entry in located
    ]
    return source, licence, parts


def declared_licence(source: Source) -> str | None:
    """Return the licence in the catalogue."""
    return next((entry.licence for entry in source.parts), None)


def on_hub(source: Source) -> "tuple[Source, str | None, list[tuple[HubFiles, Entry | None]]]":
    """Return a hub's dataset with its commit, its licence, and the files of each part with the entry that reads them.

    Raises:
        ConfigError, MartletError: as `locate_files`.
    """
    revision, licence = source.version or source.revision, declared_licence(source)
    parts: list[tuple[HubFiles, Entry | None]] = []
    for entry in source.parts or (None,):
        subsets, split = (entry.subsets, entry.split) if entry else (source.subsets, "train")
        files = locate_files(str(source.hub), source.name, revision, subsets, split=split, similar=catalogue.names())
        revision, licence = files.commit, files.licence or declared_licence(source)
        parts.append((files, entry))
    return replace(source, version=revision), licence, parts


def _clash(row: Raw, columns: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Return two columns of a row and the name that both would get; `_`, which leaves columns out, is no clash."""
    columns_by_name: dict[str, str] = {}
    for key in row:
        name = columns.get(key, key)
        if name != "_" and name in columns_by_name:
            return columns_by_name[name], key, name
        columns_by_name[name] = key
    return None
