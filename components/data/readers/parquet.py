"""Parquet, a row group's batches at a time."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from components.data.readers import arrow
from components.data.readers._faults import Faults
from components.data.readers._files import seekable

SUFFIXES = (".parquet",)


def rows(file: BinaryIO, faults: Faults) -> Iterator[tuple[int, dict[str, Any], None]]:
    """Yield the records, numbered from 1."""
    with arrow.explained(faults, "Parquet"):
        import pyarrow.parquet as pq

        parquet = pq.ParquetFile(seekable(file), buffer_size=1 << 20)
        yield from arrow.numbered(parquet.schema_arrow, parquet.iter_batches(arrow.BATCH_ROWS), faults)
