"""No prompt that is learned is one that the model is later measured on.

A prompt is the conversation up to an answer; system messages, case, punctuation and runs of white space aside.
Measured on are the questions in the sets, and for training rows the last prompt of every validation row.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.data.checks import Batch, Context, Failure, Roster
from components.data.checks.hashes import hashed, loose, placed
from components.rows import CONVERSATIONS

if TYPE_CHECKING:
    import numpy as np

KEPT = [("row", "u4"), ("last", "?"), ("prompt", "u8")]
PROMPTS = [CONVERSATIONS.index("messages"), CONVERSATIONS.index("prompt")]
PIECE = 1 << 16


def keep(batch: Batch, context: Context) -> "np.ndarray":
    """Each prompt of each row as 64 bits: hashes of the turns at their places, summed up to there."""
    import numpy as np
    import polars as pl

    turns = batch.turns.filter(pl.col("column").is_in(PROMPTS), pl.col("role") != "system")
    if not len(turns) or not (context.questions or context.has_val):
        return np.zeros(0, KEPT)
    row = turns["row"].to_numpy()
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    lengths = np.diff(starts, append=len(row))
    place = np.arange(len(row)) - np.repeat(starts, lengths)
    running = np.cumsum(placed(hashed(loose(turns["content"])), place))
    before = np.concatenate([[np.uint64(0)], running])[starts]
    prompts = running - np.repeat(before, lengths)
    asked = np.flatnonzero((turns["role"] != "assistant").to_numpy())
    kept = np.zeros(len(asked), KEPT)
    kept["row"], kept["prompt"] = row[asked] + batch.start, prompts[asked]
    kept["last"] = np.diff(kept["row"].astype(np.int64), append=-1) != 0
    return kept


def judge(file: Path, roster: Roster, context: Context) -> Iterator[Failure]:
    """Training rows against what is held out, validation rows against the question sets."""
    import numpy as np

    border = roster.of("val").start
    held = [p[p["last"] & roster.alive[p["row"]] & (p["row"] >= border)] for p in _pieces(file)]
    held = np.concatenate([np.zeros(0, KEPT), *held])
    asked, names = _asked(context)
    measured = np.concatenate([held["prompt"], asked])
    order = np.argsort(measured, kind="stable")
    told = -1
    for piece in _pieces(file) if len(measured) else ():
        piece = piece[roster.alive[piece["row"]]]
        val = piece["row"] >= border
        found = np.isin(piece["prompt"], measured) & ~(val & ~np.isin(piece["prompt"], asked))
        for i, prompt in zip(piece["row"][found].tolist(), piece["prompt"][found], strict=True):
            if i == told:
                continue
            told = i
            place = int(order[np.searchsorted(measured, prompt, "right", order) - 1])  # a question set's, if any
            if place < len(held):
                at = f"validation row {roster.where(int(held['row'][place]))}"
            else:
                at = f"question set {names[place - len(held)]}"
            yield Failure(i, f"its prompt also stands in {at}")


def _pieces(file: Path) -> "Iterator[np.ndarray]":
    import numpy as np

    kind = np.dtype(KEPT)
    with file.open("rb") as stream:
        while len(piece := np.fromfile(stream, kind, PIECE)):
            yield piece


def _asked(context: Context) -> "tuple[np.ndarray, list[str]]":
    """The hash of each question, and the name of its set."""
    import numpy as np
    import polars as pl

    names = [name for name, texts in context.questions.items() for _ in texts]
    texts = pl.Series([text for texts in context.questions.values() for text in texts], dtype=pl.String)
    return placed(hashed(loose(texts)), np.zeros(len(texts), np.int64)), names
