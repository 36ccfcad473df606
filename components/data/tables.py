"""Tables of raw rows, and the files they lie in between the stages."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from components.data.turns import Message


class Table(NamedTuple):
    """Rows by column, of equal length: the spec they came from, their number in its file, and the row as JSON."""

    source: list[str]
    row: list[int]
    raw: list[str]

    def take(self, indices: Iterable[int]) -> "Table":
        """The rows at `indices`, in that order."""
        chosen = list(indices)
        source, row, raw = self
        return Table([source[i] for i in chosen], [row[i] for i in chosen], [raw[i] for i in chosen])


_TYPES = ("string", "int64", "string")


def joined(tables: Iterable[Table]) -> Table:
    """The rows of all tables, one table after the other."""
    whole = Table([], [], [])
    for table in tables:
        whole.source.extend(table.source)
        whole.row.extend(table.row)
        whole.raw.extend(table.raw)
    return whole


def write_table(path: Path, table: Table) -> None:
    """Write the columns `source`, `row` (int64) and `raw` as Parquet; equal tables give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [pa.array(column, type=kind) for column, kind in zip(table, _TYPES, strict=True)]
    pq.write_table(pa.table(columns, names=list(Table._fields)), path, compression="zstd")


def read_table(path: Path) -> Table:
    """Read what `write_table` wrote; an absent file is an empty table."""
    import pyarrow.parquet as pq

    if not path.exists():
        return Table([], [], [])
    return Table(*(column.to_pylist() for column in pq.read_table(path, columns=list(Table._fields)).columns))


def write_conversations(path: Path, rows: Iterable[tuple[list[Message], str, int]]) -> None:
    """Write `messages` (list of role and content), `source` and `row` (int64) as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    columns = list(zip(*rows, strict=True))
    table = pa.table(
        {
            "messages": pa.array(columns[0], type=pa.list_(message)),
            "source": pa.array(columns[1], type=pa.string()),
            "row": pa.array(columns[2], type=pa.int64()),
        }
    )
    pq.write_table(table, path, compression="zstd")


def write_questions(path: Path, table: Table) -> None:
    """Write a question set as JSON Lines."""
    path.write_text("".join(f"{raw}\n" for raw in table.raw), encoding="utf-8")


def read_questions(folder: Path) -> dict[str, list[str]]:
    """The queries of every question set in a folder, by the set's name."""
    import orjson

    files = sorted(folder.glob("*.jsonl"))
    return {file.stem: [orjson.loads(line)["query"] for line in file.open("rb")] for file in files}
