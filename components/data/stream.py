"""Rows that pass by: read, mixed and shuffled in little memory, from wherever they were left.

    stream = Stream(sources, params.data, scratch)
    for position, items, ends in stream.chunks(): ...             # for ever: after the last row comes the next pass
    for position, items, ends in stream.chunks(position): ...     # the same from there on

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
from components.data.load import Preparer, Raw, declared_licence, on_hub
from components.data.mixing import BLOCK, draws_of
from components.data.readers import read
from components.data.sources import Source
from components.errors import DataGateError

if TYPE_CHECKING:
    from components.data.entry import Entry

CHUNK_ROWS, CHUNK_BYTES = 1000, 8 << 20
"""A chunk ends with the row that reaches either."""
BLOCK_BYTES = 256 << 20
"""Where a block of very long rows ends early."""


class Item(NamedTuple):
    """A row on its way: its dataset's spec, its number there, and the row as JSON, or else why it is malformed."""

    source: str
    number: int
    raw: bytes
    fault: str = ""


class Place(NamedTuple):
    """How far a dataset is read: `row` rows into its file number `file`, with `before` rows in the files before, and
    `taken` rows given since it was begun. `over`: it was read to its end once in this pass."""

    file: int = 0
    row: int = 0
    before: int = 0
    taken: int = 0
    over: bool = False


class Position(NamedTuple):
    """Where a stream stands: in pass `epoch`, with `done` rows of block `block` given. The `places` of the datasets and
    the number of rows `drawn` in this pass are those at the beginning of the block. It is plain JSON."""

    epoch: int
    block: int
    done: int
    drawn: int
    places: Sequence[Sequence[Any]]


class Stream:
    """The rows of datasets, one after the other or in given shares, for ever.

    Shards of a hub lie in the folder `scratch` while they are read. `sources` are those given, with the commits that
    were found, and `described` is what a manifest says of them.

    Raises:
        ConfigError: not one share for each dataset, an unknown hub id.
        MartletError: a hub that does not answer.
    """

    def __init__(self, sources: Sequence[Source], data: Data, scratch: Path) -> None:
        check_shares(data.interleave_prob, len(sources))
        self.data, self.prepare = data, Preparer(data)
        self.taps = [_Tap(source, self.prepare, scratch) for source in sources]
        self.sources = [tap.source for tap in self.taps]
        self.described = [tap.described for tap in self.taps]

    def chunks(self, start: Position | None = None) -> Iterator[tuple[Position, list[Item], bool]]:
        """Some rows at a time, with the position at which they begin and whether they are the last of their pass.

        Raises:
            ConfigError: a placeholder without a value, a column to rename that the only dataset has not.
            DataGateError: a dataset without rows, a file that cannot be read on.
            MartletError: a hub's file that cannot be had.
        """
        chunks = self._chunks(start or Position(0, 0, 0, 0, [Place() for _ in self.taps]))
        for number, ((position, items), (following, _)) in enumerate(pairwise(chunks)):
            if number == 0 and start is None and len(self.taps) == 1:
                self.prepare.check_columns()
            yield position, items, following.epoch > position.epoch

    def _chunks(self, start: Position) -> Iterator[tuple[Position, list[Item]]]:
        import numpy as np

        epoch, block, done, drawn, places = start
        size = self.data.shuffle_buffer_size if self.data.dataset_shuffle else CHUNK_ROWS
        while True:
            for tap, place in zip(self.taps, places, strict=True):
                tap.go_to(Place(*place))
            rows = self._mixed(epoch, drawn)
            while True:
                at = Position(epoch, block, done, drawn, [tap.place for tap in self.taps])
                items = _first(rows, size, BLOCK_BYTES)
                if not items:
                    break
                if self.data.dataset_shuffle:
                    order = np.random.default_rng([self.data.data_seed, epoch, block]).permutation(len(items))
                    items = [items[i] for i in order]
                drawn += len(items)
                left = iter(items[done:])
                while chunk := _first(left, CHUNK_ROWS, CHUNK_BYTES):
                    yield at._replace(done=done), chunk
                    done += len(chunk)
                block, done = block + 1, 0
            epoch, block, drawn, places = epoch + 1, 0, 0, [Place() for _ in self.taps]

    def _mixed(self, epoch: int, drawn: int) -> Iterator[Item]:
        """The rows of one pass from where the taps are, of which `drawn` rows were given."""
        taps, shares = self.taps, self.data.interleave_prob
        if not shares:
            for tap in taps:
                while not tap.place.over:
                    yield tap.take()
            return
        ended = all if self.data.stopping_strategy == "all_exhausted" else any
        draws = draws_of(shares, self.data.data_seed + epoch)
        skipped, inside = divmod(drawn, BLOCK)
        for numbers in islice(draws, skipped, None):
            for number in numbers[inside:].tolist():
                yield taps[number].take()
                if ended(tap.place.over for tap in taps):
                    return
            inside = 0


class _LocalFiles:
    """The files of a local source, in the form of `HubFiles`."""

    def __init__(self, source: Source) -> None:
        self.names = [name for _, name in source.files]
        self.paths = [path for path, _ in source.files]

    def stream(self, start: int, _scratch: Path) -> Iterator[Path]:
        """Yield the paths from file number `start` on."""
        return iter(self.paths[start:])


class _Tap:
    """The rows of one dataset. At its end it begins again, as `#n` does with more rows than there are."""

    def __init__(self, source: Source, prepare: Preparer, scratch: Path) -> None:
        self.prepare, self.scratch = prepare, scratch
        self.parts: Sequence[tuple[HubFiles | _LocalFiles, Entry | None]]
        if source.hub:
            self.source, licence, self.parts = on_hub(source)
        else:
            self.source, licence = source, declared_licence(source)
            self.parts = [(_LocalFiles(source), next(iter(source.parts), None))]
        self.described = {
            "spec": source.spec, "name": source.name, "hub": source.hub, "subsets": list(source.subsets),
            "asked": source.asked, "revision": self.source.version if source.hub else None, "licence": licence,
            "files": sum(len(part.names) for part, _ in self.parts),
        }  # fmt: skip
        self.go_to(Place())

    def go_to(self, place: Place) -> None:
        """Give the rows from `place` on; nothing is read yet."""
        self.place = place
        self._coming: Iterator[tuple[Place, Item]] | None = None

    def take(self) -> Item:
        """The next row; the first again when there is none."""
        if self._coming is None:
            self._coming = self._from(self.place)
            self._next = next(self._coming, None)
        if self._next is None:
            self._coming = self._from(Place(over=True))
            self._next = next(self._coming)
        place, item = self._next
        self._next = next(self._coming, None)
        self.place = place._replace(over=place.over or self._next is None)
        return item

    def _from(self, place: Place) -> Iterator[tuple[Place, Item]]:
        """The rows behind `place`, each with the place behind it, up to the last or the n-th."""
        file, row, before, taken, over = place
        name, limit = self.source.name, self.source.rows
        single = self.described["files"] == 1
        while taken != limit:
            for path, known_as, entry in self._files(file):
                count = row
                for count, (number, raw, written, fault) in enumerate(
                    islice(_lines(path, known_as), row, None), row + 1
                ):
                    json = b"" if fault else self.prepare(name, number, raw, written, entry)
                    if json is None:
                        continue
                    taken += 1
                    source = self.source.spec if single else known_as
                    yield Place(file, count, before, taken, over), Item(source, number, json, fault)
                    if taken == limit:
                        return
                file, row, before = file + 1, 0, before + count
            if not taken:
                raise DataGateError(f"{name}: the dataset is empty; it needs at least one row")
            if limit is None:
                return
            file = row = before = 0

    def _files(self, start: int) -> "Iterator[tuple[Path, str, Entry | None]]":
        for part, entry in self.parts:
            names = part.names[start:]
            if names:
                prefix = f"{self.source.name}/" if self.source.hub else ""
                for path, name in zip(part.stream(start, self.scratch), names, strict=True):
                    yield path, prefix + name, entry
            start = max(0, start - len(part.names))


def _lines(path: Path, name: str) -> Iterator[tuple[int, Raw, bytes | None, str]]:
    """The rows of a file, those that are malformed among them in their place."""
    faults: list[tuple[int, str]] = []
    for number, row, written in read(path, name, lambda number, reason: faults.append((number, reason))):
        yield from ((number, {}, None, reason) for number, reason in faults)
        faults.clear()
        yield number, row, written, ""
    yield from ((number, {}, None, reason) for number, reason in faults)


def _first(items: Iterator[Item], rows: int, size: int) -> list[Item]:
    """At most so many rows, up to the one that makes it `size` bytes."""
    found: list[Item] = []
    for item in islice(items, rows):
        found.append(item)
        size -= len(item.raw)
        if size <= 0:
            break
    return found
