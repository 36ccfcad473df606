"""The profile of a folder of raw rows: a Parquet file with a line for each row, of training and of validation."""

import hashlib
from pathlib import Path
from typing import Any

from components.files import replacing

TOPIC_COLUMNS = ("topic", "category", "subject", "domain")
"""Columns that may name what a row is about; the first that a row has is its topic."""


def write_profile(raw: Path, file: Path) -> None:
    """Write the profile of `raw/train.parquet` and, if it is there, `raw/val.parquet`: columns `source`, `topic` (null
    where a row names none), `characters` (of all texts of the row) and `hash` (of the row's content, 16 hex digits).

    Both splits are one: a row that moves from one to the other has not changed.
    """
    import orjson
    import pyarrow.parquet as pq

    lines = [
        _line(source, orjson.loads(text))
        for part in (raw / "train.parquet", raw / "val.parquet")
        if part.is_file()
        for batch in pq.ParquetFile(part).iter_batches(columns=["source", "raw"])
        for source, text in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    ]
    with replacing(file) as temporary:
        pq.write_table(_table(lines), temporary, compression="zstd")


def _table(lines: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    kinds = {"source": pa.string(), "topic": pa.string(), "characters": pa.int64(), "hash": pa.string()}
    return pa.Table.from_pylist(lines, pa.schema(list(kinds.items())))


def _line(source: str, row: dict[str, Any]) -> dict[str, Any]:
    import orjson

    topic = next((row[name] for name in TOPIC_COLUMNS if isinstance(row.get(name), str)), None)
    content = orjson.dumps(row, option=orjson.OPT_SORT_KEYS)
    digest = hashlib.blake2b(content, digest_size=8).hexdigest()
    return {"source": source, "topic": topic, "characters": _characters(row), "hash": digest}


def _characters(value: Any) -> int:
    """Return the number of characters of all texts in a JSON value, without its keys."""
    if isinstance(value, str):
        return len(value)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(map(_characters, parts))
