"""Raw rows in memory, and the Parquet file they lie in between the stages."""

from pathlib import Path
from typing import NamedTuple


class Table(NamedTuple):
    """Rows by column, of equal length: the spec they came from, their number in its file, and the row as JSON."""

    source: list[str]
    row: list[int]
    raw: list[str]


_TYPES = ("string", "int64", "string")


def write_table(path: Path, table: Table) -> None:
    """Write the columns `source`, `row` (int64) and `raw` as Parquet; equal tables give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [pa.array(column, type=kind) for column, kind in zip(table, _TYPES, strict=True)]
    pq.write_table(pa.table(columns, names=list(Table._fields)), path, compression="zstd")
