"""From raw rows, as `fetch` writes them, to canonical rows, a row group at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.data.checks import Batch
from components.data.formats import read_row
from components.rows import Row, read_batches, to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

SPLITS = ("train", "val")
LONE_SURROGATE = "holds half of a character (a lone surrogate, such as \\ud83d without \\ude00), which is no text"


class RowGroup(NamedTuple):
    """A row group of a split's raw rows, and the index of its first row among all rows of both splits."""

    split: str
    number: int
    start: int


def row_groups(raw: Path) -> list[RowGroup]:
    """Return the row groups of `raw/{train,val}.parquet`, in order."""
    import pyarrow.parquet as pq

    groups: list[RowGroup] = []
    start = 0
    for split in SPLITS:
        if (raw / f"{split}.parquet").exists():
            metadata = pq.read_metadata(raw / f"{split}.parquet")
            sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
            groups += [RowGroup(split, i, start + sum(sizes[:i])) for i, size in enumerate(sizes) if size]
            start += sum(sizes)
    return groups


def canonical_rows(raw: Path, group: RowGroup) -> tuple[Batch, dict[int, str]]:
    """Return the canonical rows of a row group, and the rows that no format can read, by index, with the reason.

    An unreadable row is empty in the batch.
    """
    import numpy as np
    import pyarrow.parquet as pq

    with pq.ParquetFile(raw / f"{group.split}.parquet") as file:
        [stored] = file.read_row_group(group.number).combine_chunks().to_batches()
    rows, unreadable = _read(stored.column("raw").to_pylist())
    numbers: Any = np.from_dlpack(stored.column("row"))
    arrow = to_arrow(rows, stored.column("source").to_pylist(), numbers)
    return Batch(group.split, group.start, rows, arrow), unreadable


def _read(raws: list[str]) -> tuple[list[Row], dict[int, str]]:
    import orjson

    rows: list[Row] = []
    unreadable: dict[int, str] = {}
    for i, raw in enumerate(raws):
        try:
            rows.append(read_row(raw))
        except orjson.JSONDecodeError as error:
            rows.append({})
            unreadable[i] = LONE_SURROGATE if "surrogate" in str(error) else f"not JSON as the standard has it: {error}"
        except ValueError as error:
            rows.append({})
            unreadable[i] = str(error)
    return rows, unreadable


def batches(folder: Path, split: str, columns: list[str] | None = None) -> "Iterator[pa.RecordBatch]":
    """Yield the batches of `folder/SPLIT.parquet`; none where there is no such file."""
    if (folder / f"{split}.parquet").exists():
        yield from read_batches(folder / f"{split}.parquet", columns)


def count_rows(folder: Path, split: str) -> int:
    """Return the number of rows of `folder/SPLIT.parquet`."""
    import pyarrow.parquet as pq

    path = folder / f"{split}.parquet"
    return pq.read_metadata(path).num_rows if path.exists() else 0
