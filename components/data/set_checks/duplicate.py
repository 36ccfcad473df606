"""The row, runs of white space aside, is not one that stands earlier in its dataset, or in another of the same split.

A row that `#n` repeats because more were asked for than there are is no duplicate of itself. Media are compared by
their contents.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.data.checks import Batch, Context, Failure
from components.data.checks._hashes import hashed, mixed, placed, repeated, squeezed, sums
from components.data.row_index import RowIndex
from components.media import COLUMNS
from components.rows import JSON_COLUMNS, SCALAR_COLUMNS

if TYPE_CHECKING:
    import numpy as np

RECORD = "u8"


def records(batch: Batch, _: Context) -> "np.ndarray":
    """Return 64 bits of all that a row holds: among a million rows, two collide with probability 1 in 40 million."""
    import numpy as np
    import polars as pl

    turns = batch.turns
    words = hashed(squeezed(turns["content"])) + mixed(hashed(turns["role"]))
    for name in ("reasoning_content", "tool_calls"):
        if turns[name].null_count() < len(turns):
            words += mixed(hashed(turns[name]) + np.uint64(len(name)))
    places = turns["place"].to_numpy().astype(np.uint64) * np.uint64(8) + turns["column"].to_numpy()
    total = sums(placed(words, places), batch.row_of, len(batch))
    if batch.media:
        total += mixed(batch.media_keys)
    for number, name in enumerate((*SCALAR_COLUMNS, *JSON_COLUMNS)):
        column = batch.arrow.column(name)
        if name not in ("text", *COLUMNS.values()) and column.null_count < len(column):
            total += placed(hashed(pl.from_arrow(column).cast(pl.String)), np.full(len(batch), ~number, np.int64))  # type: ignore[union-attr]
    return total


def check_set(file: Path, rows: RowIndex, _: Context) -> Iterator[Failure]:
    """Yield all but the first of equal rows."""
    import numpy as np

    hashes = np.fromfile(file, RECORD)
    for split in ("train", "val"):
        indices = np.flatnonzero(rows.clean[rows.of(split)]) + rows.of(split).start
        indices = indices[np.lexsort((rows.row[indices], rows.source[indices]))]  # fetch may have mixed them
        later, earlier = (indices[positions] for positions in repeated(hashes[indices]))
        distinct = ~rows.same(earlier, later)
        for i, first in zip(later[distinct].tolist(), earlier[distinct].tolist(), strict=True):
            yield Failure(i, f"the same as {rows.where(first)}")
