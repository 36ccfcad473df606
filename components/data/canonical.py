"""From rows as fetch left them to canonical rows, a batch at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.data.checks import Batch
from components.data.formats import to_row
from components.rows import Row, read_batches, to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

SPLITS = ("train", "val")
HALF = "holds half of a character (a lone surrogate, such as \\ud83d without \\ude00), which is no text"


class Place(NamedTuple):
    """A row group of raw rows, and the index of its first row among all rows of both splits."""

    split: str
    group: int
    start: int


def places(raw: Path) -> list[Place]:
    """The row groups of `raw/{train,val}.parquet`, in order."""
    import pyarrow.parquet as pq

    found: list[Place] = []
    start = 0
    for split in SPLITS:
        if (raw / f"{split}.parquet").exists():
            metadata = pq.read_metadata(raw / f"{split}.parquet")
            sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
            found += [Place(split, group, start + sum(sizes[:group])) for group, size in enumerate(sizes) if size]
            start += sum(sizes)
    return found


def canonical(raw: Path, place: Place) -> tuple[Batch, dict[int, str]]:
    """The canonical rows of a row group, and why some of them could not be read."""
    import numpy as np
    import pyarrow.parquet as pq

    with pq.ParquetFile(raw / f"{place.split}.parquet") as file:
        [found] = file.read_row_group(place.group).combine_chunks().to_batches()
    rows, unreadable = _read(found.column("raw").to_pylist())
    row: Any = np.from_dlpack(found.column("row"))
    arrow = to_arrow(rows, found.column("source").to_pylist(), row)
    return Batch(place.split, place.start, rows, arrow), unreadable


def _read(written: list[str]) -> tuple[list[Row], dict[int, str]]:
    """Canonical rows of rows as JSON; one that no format can read is empty, and is told with the reason."""
    import orjson

    rows: list[Row] = []
    unreadable: dict[int, str] = {}
    for i, raw in enumerate(written):
        try:
            rows.append(to_row(orjson.loads(raw)))
        except orjson.JSONDecodeError as error:
            rows.append({})
            unreadable[i] = HALF if "surrogate" in str(error) else f"not JSON as the standard has it: {error}"
        except ValueError as error:
            rows.append({})
            unreadable[i] = str(error)
    return rows, unreadable


def batches(folder: Path, split: str, columns: list[str] | None = None) -> "Iterator[pa.RecordBatch]":
    """The batches of `folder/SPLIT.parquet`; none where there is no such file."""
    if (folder / f"{split}.parquet").exists():
        yield from read_batches(folder / f"{split}.parquet", columns)


def count(folder: Path, split: str) -> int:
    """The rows of `folder/SPLIT.parquet`."""
    import pyarrow.parquet as pq

    path = folder / f"{split}.parquet"
    return pq.read_metadata(path).num_rows if path.exists() else 0
