"""Rows on the disk on their way through `fetch`: appended as they are read, got in any order, never all in memory."""

import os
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.rows import ROWS_A_GROUP, numbers, utf8

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

BYTES_A_GROUP = 16 << 20


class Spool:
    """An unnamed file in `folder` that rows are appended to, each as JSON."""

    def __init__(self, folder: Path) -> None:
        self.file = tempfile.TemporaryFile(dir=folder, buffering=1 << 20)  # noqa: SIM115
        self.specs: list[str] = []
        self.starts = array("q")
        self.numbers, self.ends = array("q"), array("q", [0])

    def __len__(self) -> int:
        return len(self.numbers)

    def begin(self, spec: str) -> None:
        """Rows appended from now on are of this dataset."""
        self.specs.append(spec)
        self.starts.append(len(self))

    def append(self, number: int, raw: bytes) -> None:
        """Keep a row, and its number in its dataset."""
        self.file.write(raw)
        self.numbers.append(number)
        self.ends.append(self.ends[-1] + len(raw))


@dataclass(frozen=True)
class Picked:
    """Rows of a spool, by their positions in it."""

    spool: Spool
    order: "np.ndarray"

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[tuple[str, int, str]]:
        """The source, the row's number there, and the row as JSON."""
        for batch in self.batches():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def batches(self) -> "Iterator[pa.RecordBatch]":
        """The rows as columns `source`, `row` (int64) and `raw`, of at most 4096 rows and about 16 MB each."""
        import numpy as np

        self.spool.file.flush()
        ends = np.frombuffer(self.spool.ends, np.int64)
        at = 0
        while at < len(self.order):
            chosen = self.order[at : at + ROWS_A_GROUP]
            sizes = ends[chosen + 1] - ends[chosen]
            count = max(1, int(np.searchsorted(np.cumsum(sizes), BYTES_A_GROUP)))
            yield self._batch(chosen[:count], ends[chosen[:count]], sizes[:count])
            at += count

    def _batch(self, chosen: "np.ndarray", starts: "np.ndarray", sizes: "np.ndarray") -> "pa.RecordBatch":
        import numpy as np
        import pyarrow as pa

        spool, file = self.spool, self.spool.file.fileno()
        raws = [os.pread(file, size, start) for size, start in zip(sizes.tolist(), starts.tolist(), strict=True)]
        origins = np.searchsorted(np.frombuffer(spool.starts, np.int64), chosen, "right") - 1
        specs = [spec.encode() for spec in spool.specs]
        row = np.frombuffer(spool.numbers, np.int64)[chosen]
        columns = [utf8([specs[origin] for origin in origins.tolist()]), numbers(row), utf8(raws)]
        return pa.RecordBatch.from_arrays(columns, ["source", "row", "raw"])


def write_picked(path: Path, picked: Picked) -> None:
    """Write the rows as Parquet; equal rows give equal bytes."""
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
        for batch in picked.batches():
            writer.write_batch(batch)
