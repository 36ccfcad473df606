"""The gate over rows that a test writes down."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.config.groups.validation import Validation
from components.data import Verdict, run_gate
from components.rows import ROWS_PER_GROUP


def table(*rows: Any, source: str = "a.jsonl", numbers: list[int] | None = None) -> pa.Table:
    """Rows as fetch leaves them; a text is a row's JSON as it stands."""
    numbers = numbers or list(range(1, len(rows) + 1))
    written = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    return pa.table({"source": [source] * len(rows), "row": pa.array(numbers, pa.int64()), "raw": written})


def judged(
    train: pa.Table,
    val: pa.Table | None = None,
    questions: Mapping[str, list[str]] | None = None,
    model: Path | None = None,
    folder: Path | None = None,
    group_rows: int = ROWS_PER_GROUP,
    **validation: Any,
) -> Verdict:
    """Return the verdict on rows in row groups of `group_rows`. Its files are gone, unless `folder` is given."""
    if folder is None:
        with tempfile.TemporaryDirectory() as made:
            return judged(train, val, questions, model, Path(made), group_rows, **validation)
    raw, rows = folder / "raw", folder / "rows"
    raw.mkdir(parents=True)
    rows.mkdir()
    for split, table in (("train", train), ("val", val)):
        if table is not None:
            pq.write_table(table, raw / f"{split}.parquet", row_group_size=group_rows)
    return run_gate(raw, rows, questions or {}, Validation(**validation), model)


def clean(verdict: Verdict, folder: Path, split: str = "train") -> list[dict[str, Any]]:
    """The clean rows of a verdict, with their places, without absent columns."""
    (folder / "clean").mkdir()
    verdict.write(folder / "clean")
    rows = pq.read_table(folder / f"clean/{split}.parquet").to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def pair(query: str, response: str = "fine") -> dict[str, str]:
    """A question and its answer."""
    return {"query": query, "response": response}


def chat(*roles: str) -> dict[str, Any]:
    """A conversation of these roles."""
    return {"messages": [{"role": role, "content": f"{role} {i}"} for i, role in enumerate(roles)]}
