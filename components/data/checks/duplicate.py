"""The row, runs of white space aside, is not one that stands earlier in its dataset, or in another of the same split.

A row that `#n` repeats because more were asked for than there are is no duplicate of itself.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.data.checks import Batch, Context, Failure, Roster
from components.data.checks.hashes import hashed, mixed, placed, repeated, squeezed, sums
from components.rows import PLAIN, WRITTEN

if TYPE_CHECKING:
    import numpy as np

KEPT = "u8"


def keep(batch: Batch, _: Context) -> "np.ndarray":
    """64 bits of all that a row holds: by the odds, one pair in forty million sets of a million rows is alike."""
    import numpy as np
    import polars as pl

    turns = batch.turns
    words = hashed(squeezed(turns["content"])) + mixed(hashed(turns["role"]))
    for name in ("reasoning_content", "tool_calls"):
        if turns[name].null_count() < len(turns):
            words += mixed(hashed(turns[name]) + np.uint64(len(name)))
    places = turns["place"].to_numpy().astype(np.uint64) * np.uint64(8) + turns["column"].to_numpy()
    total = sums(placed(words, places), batch.row_of, len(batch))
    for number, name in enumerate((*PLAIN, *WRITTEN)):
        column = batch.arrow.column(name)
        if name != "text" and column.null_count < len(column):
            total += placed(hashed(pl.from_arrow(column).cast(pl.String)), np.full(len(batch), ~number, np.int64))  # type: ignore[union-attr]
    return total


def judge(file: Path, roster: Roster, _: Context) -> Iterator[Failure]:
    """Of the rows that are alike, all but the first."""
    import numpy as np

    kept = np.fromfile(file, KEPT)
    for split in ("train", "val"):
        rows = np.flatnonzero(roster.alive[roster.of(split)]) + roster.of(split).start
        rows = rows[np.lexsort((roster.row[rows], roster.source[rows]))]  # fetch may have mixed them
        later, earlier = (rows[places] for places in repeated(kept[rows]))
        again = ~roster.same(earlier, later)
        for i, first in zip(later[again].tolist(), earlier[again].tolist(), strict=True):
            yield Failure(i, f"the same as {roster.where(first)}")
