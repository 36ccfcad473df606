"""No prompt that is learned is one that the model is later measured on.

A prompt is the conversation up to an answer, and each turn of the user's alone, also without a label (`Question:`) and
a cue (`Answer:`), and each of its lines; system messages, case, punctuation, runs of white space, character width and
invisible characters aside, with the contents of its media. The lines of plain texts count as well. Held out are the
questions of the question sets and, for training rows, the last prompt of every validation row. A question inside of a
longer sentence is not seen.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.data.checks import Batch, Context, Failure
from components.data.checks._batch import TEXT
from components.data.checks._hashes import folded, hashed, loose, placed
from components.data.row_index import RowIndex
from components.rows import CONVERSATIONS

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

RECORD = [("row", "u4"), ("last", "?"), ("prompt", "u8")]
PROMPT_COLUMNS = [CONVERSATIONS.index("messages"), CONVERSATIONS.index("prompt")]
MARKS = r"^(?:\s|[-#>•*]+\s|\d{1,3}[.)]\s|[*_`]{1,3}|<\w+>)+|(?:\s|[*_`]|</\w+>)+$"
"""Bullets, numbers, emphasis and tags round a line."""
LABEL = (
    r"(?i)^(?:the |user |test )?(?:question|query|prompt|input|instruction|problem|task|user|human|q|frage|pregunta"
    r"|вопрос|问题|问|提问|题目|質問|質問文)\s*\d*[*_`]*[:：.)\n]+"
)
"""What stands before a question that is marked as one."""
CUE = (
    r"(?i)(?:\n|[.?!。？！])[\s#>*_`-]*(?:the |your )?(?:answer|response|assistant|output|solution|a|antwort|respuesta"
    r"|ответ|答案|回答|答)[*_`]*[:：][*_`]*$"
)
"""What stands behind a question and asks for the answer."""
TURN_MIN_BYTES = 9
"""Length of a turn or line from which it is compared alone: shorter ones are said in any conversation."""
PIECE_RECORDS = 1 << 16
"""Records in memory at a time."""


def records(batch: Batch, context: Context) -> "np.ndarray":
    """Return 64 bits of each prompt of each row: the hashes of the turns at their places, summed up to the answer."""
    import numpy as np
    import polars as pl

    if not (context.questions or context.has_val):
        return np.zeros(0, RECORD)
    alone = _alone(batch)
    turns = batch.turns.filter(pl.col("column").is_in(PROMPT_COLUMNS), pl.col("role") != "system")
    if not len(turns):
        return alone
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
    records = np.concatenate([records, alone])
    if batch.media:  # the same question of other media is another one
        records["prompt"] += batch.media_keys[records["row"] - batch.start]
    return records[np.argsort(records["row"], kind="stable")]


def _alone(batch: Batch) -> "np.ndarray":
    """Return records of the turns of users and of plain texts, and of their lines, each compared alone."""
    import numpy as np
    import polars as pl

    asking = pl.col("column").is_in(PROMPT_COLUMNS) & (pl.col("role") == "user")
    turns = batch.turns.filter(asking | (pl.col("column") == TEXT)).select("row", "content")
    lines = turns.filter(pl.col("content").str.contains("\n", literal=True))
    lines = lines.with_columns(pl.col("content").str.split("\n")).explode("content")
    pieces = pl.concat([turns, lines])
    pieces = pieces.with_columns(loose(bare(pieces["content"])).alias("content"))
    pieces = pieces.filter(pl.col("content").str.len_bytes() >= TURN_MIN_BYTES)
    records = np.zeros(len(pieces), RECORD)
    records["row"] = pieces["row"].to_numpy() + batch.start
    records["prompt"] = placed(hashed(pieces["content"]), np.zeros(len(pieces), np.int64))
    return records


def bare(texts: "pl.Series") -> "pl.Series":
    """Return the texts without a label before and a cue behind the question."""
    texts = folded(texts)
    for pattern in (MARKS, LABEL, MARKS, CUE, MARKS):
        texts = texts.str.replace_all(pattern, "")
    return texts


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

    names = [name for name, texts in context.questions.items() for _ in texts] * 2
    texts = pl.Series([text for texts in context.questions.values() for text in texts], dtype=pl.String)
    texts = pl.concat([loose(texts), loose(bare(texts))])
    return placed(hashed(texts), np.zeros(len(texts), np.int64)), names
