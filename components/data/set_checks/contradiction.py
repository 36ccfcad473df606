"""No answer is preferred by one row and rejected by another for the same prompt, and no text is of two classes.

The rows are of the same split. Decimal numbers are no classes: two estimates of one text may differ.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.data.checks import Batch, Context, Failure
from components.data.checks._hashes import hashed, placed, squeezed, sums
from components.data.row_index import RowIndex
from components.rows import CONVERSATIONS, Row, label_of

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

RECORD = [("row", "u4"), ("is_class", "?"), ("verdict", "u8"), ("text", "u8")]
OPPOSITE = "prefers or rejects an answer of which {} says the opposite"


def records(batch: Batch, _: Context) -> "np.ndarray":
    """Return for each preferred and each rejected answer, and for each text of a class, 64 bits of the whole text with
    its prompt, and what the row says of it: 1 or 0, or 64 bits of the class."""
    import numpy as np
    import polars as pl

    label: pl.Series = pl.from_arrow(batch.arrow.column("label"))  # type: ignore[assignment]
    verdicts = {"chosen": np.ones(len(batch), np.uint64), "rejected": np.zeros(len(batch), np.uint64)}
    verdicts["completion"] = label.fill_null(False).to_numpy().astype(np.uint64)
    present = {name: batch.roles[name].is_not_null().to_numpy() for name in verdicts if name in batch.roles}
    if "completion" in present:
        present["completion"] = present["completion"] & label.is_not_null().to_numpy()
    classes = pl.Series([_class(row) if "extra" in row else None for row in batch.rows], dtype=pl.String)
    if classes.null_count() < len(classes):
        present["prompt"], verdicts["prompt"] = classes.is_not_null().to_numpy(), _verdicts(classes)
    parts = [np.zeros(0, RECORD)]
    for name, here in present.items():
        part = np.zeros(int(here.sum()), RECORD)
        part["row"], part["is_class"] = np.flatnonzero(here) + batch.start, name == "prompt"
        part["verdict"], part["text"] = verdicts[name][here], _texts(batch, name)[here]
        parts.append(part)
    return np.concatenate(parts)


def _class(row: Row) -> str | None:
    """Return the class, or the classes, that a row says its text is of, or None."""
    label = label_of(row)
    parts = label if isinstance(label, list) else [label]
    if "label" in row or not all(isinstance(part, int | str) for part in parts):
        return None
    return "\n".join(sorted(str(part).strip() for part in parts))


def _verdicts(classes: "pl.Series") -> "np.ndarray":
    """Return 64 bits of each class; the classes 0 and 1 beside an answer are judgements, too, with the same bits."""
    import numpy as np

    hashes = hashed(classes)
    for bit in (0, 1):
        hashes[(classes == str(bit)).fill_null(False).to_numpy()] = np.uint64(bit)
    return hashes


def _texts(batch: Batch, name: str) -> "np.ndarray":
    """Return for each row 64 bits of the turns of its prompt, with those of the answer `name` behind them."""
    import numpy as np
    import polars as pl

    number, prompt = CONVERSATIONS.index(name), CONVERSATIONS.index("prompt")
    turns = batch.turns.filter(pl.col("column").is_in([number, prompt]))
    row, is_prompt = turns["row"].to_numpy(), turns["column"].to_numpy() == prompt
    before = np.bincount(row[is_prompt], minlength=len(batch))[row] * ~is_prompt
    words = hashed(squeezed(turns["content"])) ^ hashed(turns["tool_calls"])
    hashes = sums(placed(words, turns["place"].to_numpy() + before), row, len(batch))
    return hashes + batch.media_keys if batch.media else hashes


def check_set(file: Path, rows: RowIndex, _: Context) -> Iterator[Failure]:
    """Yield the later of two rows that contradict each other; equal answers within a row are left to `pairs`."""
    import numpy as np

    records = np.fromfile(file, RECORD)
    records = records[rows.clean[records["row"]]]
    is_val = (records["row"] >= rows.train_rows).astype(np.uint64)
    records = records[np.lexsort((records["row"], records["text"] + is_val))]
    starts = np.flatnonzero(np.diff(records["text"], prepend=~records["text"][:1]))
    firsts = records[np.repeat(starts, np.diff(starts, append=len(records)))]
    opposite = np.flatnonzero((records["verdict"] != firsts["verdict"]) & (records["row"] != firsts["row"]))
    reported: set[int] = set()
    for record, first in sorted(zip(records[opposite].tolist(), firsts["row"][opposite].tolist(), strict=True)):
        i, is_class = record[:2]
        if i not in reported:
            reported.add(i)
            problem = "its text is of another class in {}" if is_class else OPPOSITE
            yield Failure(i, problem.format(rows.where(first)))
