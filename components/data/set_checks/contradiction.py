"""No answer that one row prefers is rejected by an earlier row, for the same prompt and in the same split."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.data.checks import Batch, Context, Failure
from components.data.checks._hashes import hashed, placed, squeezed, sums
from components.data.row_index import RowIndex
from components.rows import CONVERSATIONS

if TYPE_CHECKING:
    import numpy as np

RECORD = [("row", "u4"), ("good", "?"), ("answer", "u8")]


def records(batch: Batch, _: Context) -> "np.ndarray":
    """Return for each preferred and each rejected answer 64 bits of the answer and its prompt."""
    import numpy as np
    import polars as pl

    label: pl.Series = pl.from_arrow(batch.arrow.column("label"))  # type: ignore[assignment]
    kinds = {"chosen": np.ones(len(batch), bool), "rejected": np.zeros(len(batch), bool)}
    kinds["completion"] = label.fill_null(False).to_numpy()
    present = {name: batch.roles[name].is_not_null().to_numpy() for name in kinds if name in batch.roles}
    if "completion" in present:
        present["completion"] = present["completion"] & label.is_not_null().to_numpy()
    parts = [np.zeros(0, RECORD)]
    prompts = _hashes(batch, "prompt") if present else None
    for name, here in present.items():
        part = np.zeros(int(here.sum()), RECORD)
        part["row"] = np.flatnonzero(here) + batch.start
        part["good"], part["answer"] = kinds[name][here], (prompts + _hashes(batch, name))[here]
        parts.append(part)
    return np.concatenate(parts)


def _hashes(batch: Batch, name: str) -> "np.ndarray":
    import numpy as np
    import polars as pl

    turns = batch.turns.filter(pl.col("column") == CONVERSATIONS.index(name))
    words = hashed(squeezed(turns["content"])) ^ hashed(turns["tool_calls"])
    places = turns["place"].to_numpy().astype(np.int64) + (1000 if name == "prompt" else 0)
    return sums(placed(words, places), turns["row"].to_numpy(), len(batch))


def check_set(file: Path, rows: RowIndex, _: Context) -> Iterator[Failure]:
    """Yield the later of two rows that contradict each other; equal answers within a row are left to `pairs`."""
    import numpy as np

    records = np.fromfile(file, RECORD)
    records = records[rows.clean[records["row"]]]
    is_val = (records["row"] >= rows.train_rows).astype(np.uint64)
    records = records[np.lexsort((records["row"], records["answer"] + is_val))]
    starts = np.flatnonzero(np.diff(records["answer"], prepend=~records["answer"][:1]))
    firsts = records[np.repeat(starts, np.diff(starts, append=len(records)))]
    opposite = np.flatnonzero((records["good"] != firsts["good"]) & (records["row"] != firsts["row"]))
    pairs = zip(records["row"][opposite].tolist(), firsts["row"][opposite].tolist(), strict=True)
    reported: set[int] = set()
    for i, first in sorted(pairs):
        if i not in reported:
            reported.add(i)
            yield Failure(i, f"prefers or rejects an answer of which {rows.where(first)} says the opposite")
