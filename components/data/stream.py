"""The row stream: rows read, mixed and shuffled in little memory, from any position on.

    stream = RowStream(sources, params.data, scratch)
    for position, rows, ends in stream.chunks(): ...             # without end: after the last row, the next pass
    for position, rows, ends in stream.chunks(position): ...     # the same from there on

Rows are read in order and shuffled in blocks of `shuffle_buffer_size`. So a position is a few numbers: how far each
dataset is read, and how many rows of the block are done.
"""

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.config.groups.data import Data
from components.data.collect import check_shares
from components.data.hub_files import HubFiles
from components.data.load import Raw, RowPreparer, declared_licence, on_hub, rows_in
from components.data.mixing import BLOCK_DRAWS, draws_of
from components.data.sources import Source
from components.errors import DataGateError

if TYPE_CHECKING:
    from components.data.entry import Entry

CHUNK_ROWS, CHUNK_BYTES = 1000, 8 << 20
"""A chunk ends with the row that reaches either."""
BLOCK_BYTES = 256 << 20
"""Size at which a block of very long rows ends early."""


class RawRow(NamedTuple):
    """A row of a dataset with its number there: the row as JSON, or else why it is malformed."""

    source: str
    number: int
    raw: bytes
    fault: str = ""


class Cursor(NamedTuple):
    """How far a dataset is read.

    Attributes:
        file, row: `row` rows of file number `file` are read.
        before: rows in the files before.
        taken: rows given since the dataset was begun.
        over: the dataset was read to its end in this pass.
    """

    file: int = 0
    row: int = 0
    before: int = 0
    taken: int = 0
    over: bool = False


class StreamPosition(NamedTuple):
    """A position in a stream, as plain JSON.

    Attributes:
        epoch: the pass, from 0.
        block, done: `done` rows of block number `block` are given.
        drawn: rows drawn in this pass before the block.
        cursors: the cursor of each dataset before the block.
    """

    epoch: int
    block: int
    done: int
    drawn: int
    cursors: Sequence[Sequence[Any]]


class RowStream:
    """The rows of datasets, one after the other or in given shares, without end.

    Attributes:
        sources: the sources with their commits.
        described: the sources' entries in a manifest.

    Raises:
        ConfigError: not one share for each dataset, an unknown hub id.
        MartletError: a hub that does not answer.
    """

    def __init__(self, sources: Sequence[Source], data: Data, scratch: Path) -> None:
        check_shares(data.interleave_prob, len(sources))
        self.data, self.prepare = data, RowPreparer(data)
        self.readers = [SourceReader(source, self.prepare, scratch) for source in sources]
        self.sources = [reader.source for reader in self.readers]
        self.described = [reader.described for reader in self.readers]

    def chunks(self, start: StreamPosition | None = None) -> Iterator[tuple[StreamPosition, list[RawRow], bool]]:
        """Yield chunks of rows, each with its position and whether it is the last of its pass.

        Raises:
            ConfigError: a placeholder without a value, a column to rename that the only dataset has not.
            DataGateError: a dataset without rows, a file that cannot be read on.
            MartletError: a file of a hub that cannot be downloaded.
        """
        chunks = self._chunks(start or StreamPosition(0, 0, 0, 0, [Cursor() for _ in self.readers]))
        for number, ((position, rows), (following, _)) in enumerate(pairwise(chunks)):
            if number == 0 and start is None and len(self.readers) == 1:
                self.prepare.check_columns()
            yield position, rows, following.epoch > position.epoch

    def _chunks(self, start: StreamPosition) -> Iterator[tuple[StreamPosition, list[RawRow]]]:
        import numpy as np

        epoch, block, done, drawn, cursors = start
        block_rows = self.data.shuffle_buffer_size if self.data.dataset_shuffle else CHUNK_ROWS
        while True:
            for reader, cursor in zip(self.readers, cursors, strict=True):
                reader.go_to(Cursor(*cursor))
            stream = self._mixed(epoch, drawn)
            while True:
                position = StreamPosition(epoch, block, done, drawn, [reader.cursor for reader in self.readers])
                rows = _first(stream, block_rows, BLOCK_BYTES)
                if not rows:
                    break
                if self.data.dataset_shuffle:
                    order = np.random.default_rng([self.data.data_seed, epoch, block]).permutation(len(rows))
                    rows = [rows[i] for i in order]
                drawn += len(rows)
                rest = iter(rows[done:])
                while chunk := _first(rest, CHUNK_ROWS, CHUNK_BYTES):
                    yield position._replace(done=done), chunk
                    done += len(chunk)
                block, done = block + 1, 0
            epoch, block, drawn, cursors = epoch + 1, 0, 0, [Cursor() for _ in self.readers]

    def _mixed(self, epoch: int, drawn: int) -> Iterator[RawRow]:
        """Yield the rows of one pass from the readers' cursors on; `drawn` rows of the pass are given."""
        readers, shares = self.readers, self.data.interleave_prob
        if not shares:
            for reader in readers:
                while not reader.cursor.over:
                    yield reader.take()
            return
        ended = all if self.data.stopping_strategy == "all_exhausted" else any
        draws = draws_of(shares, self.data.data_seed + epoch)
        skipped, inside = divmod(drawn, BLOCK_DRAWS)
        for numbers in islice(draws, skipped, None):
            for number in numbers[inside:].tolist():
                yield readers[number].take()
                if ended(reader.cursor.over for reader in readers):
                    return
            inside = 0


class _LocalFiles:
    """The files of a local source, with the attributes of `HubFiles`."""

    def __init__(self, source: Source) -> None:
        self.names = [name for _, name in source.files]
        self.paths = [path for path, _ in source.files]

    def stream(self, start: int, _scratch: Path) -> Iterator[Path]:
        """Yield the paths from file number `start` on."""
        return iter(self.paths[start:])


class SourceReader:
    """Reads the rows of one dataset, and begins again at its end, as `#n` does with more rows than there are."""

    def __init__(self, source: Source, prepare: RowPreparer, scratch: Path) -> None:
        self.prepare, self.scratch = prepare, scratch
        self.parts: Sequence[tuple[HubFiles | _LocalFiles, Entry | None]]
        if source.hub:
            self.source, licence, self.parts = on_hub(source)
        else:
            self.source, licence = source, declared_licence(source)
            self.parts = [(_LocalFiles(source), next(iter(source.parts), None))]
        self.described = {
            "spec": source.spec, "name": source.name, "hub": source.hub, "subsets": list(source.subsets),
            "asked": source.revision, "revision": self.source.version if source.hub else None, "licence": licence,
            "files": sum(len(part.names) for part, _ in self.parts),
            **(source.provenance() if source.plugin else {}),
        }  # fmt: skip
        self.go_to(Cursor())

    def go_to(self, cursor: Cursor) -> None:
        """Move to a cursor; nothing is read yet."""
        self.cursor = cursor
        self._rows: Iterator[tuple[Cursor, RawRow]] | None = None

    def take(self) -> RawRow:
        """Return the next row; behind the last row, the first again."""
        if self._rows is None:
            self._rows = self._from(self.cursor)
            self._next = next(self._rows, None)
        if self._next is None:
            self._rows = self._from(Cursor(over=True))
            self._next = next(self._rows)
        cursor, row = self._next
        self._next = next(self._rows, None)
        self.cursor = cursor._replace(over=cursor.over or self._next is None)
        return row

    def _from(self, cursor: Cursor) -> Iterator[tuple[Cursor, RawRow]]:
        """Yield the rows behind a cursor, each with the cursor behind it, up to the last or the n-th row."""
        file, row, before, taken, over = cursor
        name, limit = self.source.name, self.source.rows
        single = self.described["files"] == 1
        while taken != limit:
            for path, file_name, entry in self._files(file):
                source = self.source.spec if single else file_name
                count = row
                for count, line in enumerate(islice(_lines(self.source, path, file_name), row, None), row + 1):
                    number, raw, text, fault = line
                    json = b"" if fault else self.prepare(name, number, raw, text, entry)
                    if json is None:
                        continue
                    taken += 1
                    yield Cursor(file, count, before, taken, over), RawRow(source, number, json, fault)
                    if taken == limit:
                        return
                file, row, before = file + 1, 0, before + count
            if not taken:
                raise DataGateError(f"{name}: the dataset is empty; it needs at least one row")
            if limit is None:
                return
            file = row = before = 0

    def _files(self, start: int) -> "Iterator[tuple[Path, str, Entry | None]]":
        """Yield the files from number `start` on: path, name, and the entry that reads them."""
        for part, entry in self.parts:
            names = part.names[start:]
            if names:
                prefix = f"{self.source.name}/" if self.source.hub else ""
                for path, name in zip(part.stream(start, self.scratch), names, strict=True):
                    yield path, prefix + name, entry
            start = max(0, start - len(part.names))


def _lines(source: Source, path: Path, name: str) -> Iterator[tuple[int, Raw, bytes | None, str]]:
    """Yield the rows of a file, malformed ones in their place: number, row, the row's text, and the fault."""
    faults: list[tuple[int, str]] = []
    for number, row, text in rows_in(source, path, name, lambda number, reason: faults.append((number, reason))):
        yield from ((number, {}, None, reason) for number, reason in faults)
        faults.clear()
        yield number, row, text, ""
    yield from ((number, {}, None, reason) for number, reason in faults)


def _first(stream: Iterator[RawRow], max_rows: int, max_bytes: int) -> list[RawRow]:
    """Return the next rows: at most `max_rows`, up to the row that reaches `max_bytes`."""
    rows: list[RawRow] = []
    for row in islice(stream, max_rows):
        rows.append(row)
        max_bytes -= len(row.raw)
        if max_bytes <= 0:
            break
    return rows
