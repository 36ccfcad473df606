"""No prompt that is learned is one that the model is later measured on.

A prompt is the conversation up to an answer; system messages, case, punctuation and runs of white space aside. Held
out are the questions of the question sets and, for training rows, the last prompt of every validation row.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.data.checks import Batch, Context, Failure
from components.data.checks._hashes import hashed, loose, placed
from components.data.row_index import RowIndex
from components.rows import CONVERSATIONS

if TYPE_CHECKING:
    import numpy as np

RECORD = [("row", "u4"), ("last", "?"), ("prompt", "u8")]
PROMPT_COLUMNS = [CONVERSATIONS.index("messages"), CONVERSATIONS.index("prompt")]
PIECE_RECORDS = 1 << 16
"""Records in memory at a time."""


def records(batch: Batch, context: Context) -> "np.ndarray":
    """Return 64 bits of each prompt of each row: the hashes of the turns at their places, summed up to the answer."""
    import numpy as np
    import polars as pl

    turns = batch.turns.filter(pl.col("column").is_in(PROMPT_COLUMNS), pl.col("role") != "system")
    if not len(turns) or not (context.questions or context.has_val):
        return np.zeros(0, RECORD)
    row = turns["row"].to_numpy()
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    lengths = np.diff(starts, append=len(row))
    place = np.arange(len(row)) - np.repeat(starts, lengths)
    running = np.cumsum(placed(hashed(loose(turns["content"])), place))
    before = np.concatenate([[np.uint64(0)], running])[starts]
    prompts = running - np.repeat(before, lengths)
    ends = np.flatnonzero((turns["role"] != "assistant").to_numpy())
    records = np.zeros(len(ends), RECORD)
    records["row"], records["prompt"] = row[ends] + batch.start, prompts[ends]
    records["last"] = np.diff(records["row"].astype(np.int64), append=-1) != 0
    return records


def check_set(file: Path, rows: RowIndex, context: Context) -> Iterator[Failure]:
    """Yield training rows with a held-out prompt, and validation rows with one of a question set."""
    import numpy as np

    pieces = (piece[piece["last"] & rows.clean[piece["row"]]] for piece in _pieces(file))
    val = np.concatenate([np.zeros(0, RECORD), *(piece[piece["row"] >= rows.train_rows] for piece in pieces)])
    questions, names = _question_hashes(context)
    held_out = np.concatenate([val["prompt"], questions])
    order = np.argsort(held_out, kind="stable")
    reported = -1
    for piece in _pieces(file) if len(held_out) else ():
        piece = piece[rows.clean[piece["row"]]]
        is_val = piece["row"] >= rows.train_rows
        leaks = np.isin(piece["prompt"], held_out) & ~(is_val & ~np.isin(piece["prompt"], questions))
        for i, prompt in zip(piece["row"][leaks].tolist(), piece["prompt"][leaks], strict=True):
            if i == reported:
                continue
            reported = i
            place = int(order[np.searchsorted(held_out, prompt, "right", order) - 1])  # a question set's, if any
            if place < len(val):
                other = f"validation row {rows.where(int(val['row'][place]))}"
            else:
                other = f"question set {names[place - len(val)]}"
            yield Failure(i, f"its prompt also stands in {other}")


def _pieces(file: Path) -> "Iterator[np.ndarray]":
    import numpy as np

    kind = np.dtype(RECORD)
    with file.open("rb") as stream:
        while len(piece := np.fromfile(stream, kind, PIECE_RECORDS)):
            yield piece


def _question_hashes(context: Context) -> "tuple[np.ndarray, list[str]]":
    """Return the hash of each question, and the name of its set."""
    import numpy as np
    import polars as pl

    names = [name for name, texts in context.questions.items() for _ in texts]
    texts = pl.Series([text for texts in context.questions.values() for text in texts], dtype=pl.String)
    return placed(hashed(loose(texts)), np.zeros(len(texts), np.int64)), names
