"""The row store: rows on the disk between reading and writing, appended in order, read in any order."""

import os
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.data.media.origin import Origin
from components.data.media.store import MediaStore
from components.rows import ROWS_PER_GROUP, numbers, utf8

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

BATCH_MAX_BYTES = 16 << 20


class RowStore:
    """An unnamed file in `folder` that holds rows as JSON, one after the other.

    Attributes:
        specs, starts, origins: the datasets, the index of the first row of each, and where its media may lie.
        numbers: the number of each row in its dataset.
        ends: the offset of each row's end in the file, behind a leading 0.
    """

    def __init__(self, folder: Path) -> None:
        self.file = tempfile.TemporaryFile(dir=folder, buffering=1 << 20)  # noqa: SIM115
        self.specs: list[str] = []
        self.origins: list[Origin] = []
        self.starts = array("q")
        self.numbers, self.ends = array("q"), array("q", [0])

    def __len__(self) -> int:
        return len(self.numbers)

    def begin(self, spec: str, origin: Origin) -> None:
        """Begin a dataset: rows appended from now on are its rows."""
        self.specs.append(spec)
        self.origins.append(origin)
        self.starts.append(len(self))

    def append(self, number: int, raw: bytes) -> None:
        """Append a row, with its number in its dataset."""
        self.file.write(raw)
        self.numbers.append(number)
        self.ends.append(self.ends[-1] + len(raw))


@dataclass(frozen=True)
class StoredRows:
    """Rows of a store in a given order, which is an array of their indices there."""

    store: RowStore
    order: "np.ndarray"

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[tuple[str, int, str]]:
        return self.rows()

    def rows(self, media: MediaStore | None = None) -> Iterator[tuple[str, int, str]]:
        """Yield for each row its source, its number there, and the row as JSON; `media` is that of `batches`."""
        for batch in self.batches(media):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def batches(self, media: MediaStore | None = None) -> "Iterator[pa.RecordBatch]":
        """Yield the rows as columns `source`, `row` (int64) and `raw`, at most 4096 rows and about 16 MB at a time.

        Args:
            media: takes the media of the rows, whose JSON it changes; without it they stay as they are.
        """
        import numpy as np

        self.store.file.flush()
        ends = np.frombuffer(self.store.ends, np.int64)
        start = 0
        while start < len(self.order):
            rows = self.order[start : start + ROWS_PER_GROUP]
            sizes = ends[rows + 1] - ends[rows]
            count = max(1, int(np.searchsorted(np.cumsum(sizes), BATCH_MAX_BYTES)))
            yield self._batch(rows[:count], ends[rows[:count]], sizes[:count], media)
            start += count

    def _batch(
        self, rows: "np.ndarray", offsets: "np.ndarray", sizes: "np.ndarray", media: MediaStore | None
    ) -> "pa.RecordBatch":
        import numpy as np
        import pyarrow as pa

        store, file = self.store, self.store.file.fileno()
        raws = [os.pread(file, size, offset) for size, offset in zip(sizes.tolist(), offsets.tolist(), strict=True)]
        datasets = np.searchsorted(np.frombuffer(store.starts, np.int64), rows, "right") - 1
        if media:
            raws = media.rows(raws, [store.origins[dataset] for dataset in datasets.tolist()])
        specs = [spec.encode() for spec in store.specs]
        row = np.frombuffer(store.numbers, np.int64)[rows]
        columns = [utf8([specs[dataset] for dataset in datasets.tolist()]), numbers(row), utf8(raws)]
        return pa.RecordBatch.from_arrays(columns, ["source", "row", "raw"])


def write_raw_rows(path: Path, rows: StoredRows, media: MediaStore | None = None) -> None:
    """Write rows as Parquet, their media looked up by `media`; equal rows give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("source", pa.string()), ("row", pa.int64()), ("raw", pa.string())])
    options: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": ["source"],
        "write_statistics": False,
    }
    with pq.ParquetWriter(path, schema, **options) as writer:
        for batch in rows.batches(media):
            writer.write_batch(batch)
