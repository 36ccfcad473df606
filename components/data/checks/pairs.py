"""The chosen and the rejected answer differ, and neither is max_pair_ratio times as long as the other."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.data.checks import Batch, Context, Failure
from components.data.checks._hashes import hashed, placed, squeezed, sums
from components.rows import CONVERSATIONS

if TYPE_CHECKING:
    import numpy as np

EXTRA_CHARS = 20
"""Characters that are added to both lengths, so that those of "Yes." and "No, never." are alike."""


def check_rows(batch: Batch, context: Context) -> Iterator[Failure]:
    """Answers of several turns are compared as a whole; runs of white space aside."""
    import numpy as np
    import polars as pl

    if not {"chosen", "rejected"} <= batch.roles.keys():
        return
    hashes = []
    for name in ("chosen", "rejected"):
        turns = batch.turns.filter(pl.col("column") == CONVERSATIONS.index(name))
        row, place = turns["row"].to_numpy(), turns["place"].to_numpy()
        words = hashed(squeezed(turns["content"])) ^ hashed(turns["tool_calls"])
        hashes.append(sums(placed(words, place), row, len(batch)))
    char_counts = _char_counts(batch)
    present = (batch.roles["chosen"].is_not_null() & batch.roles["rejected"].is_not_null()).to_numpy()
    ratio, limit = np.divide(*(counts + EXTRA_CHARS for counts in char_counts)), context.validation.max_pair_ratio
    equal = hashes[0] == hashes[1]
    for i in np.flatnonzero(present & (equal | (ratio > limit) | (ratio < 1 / limit))).tolist():
        chosen, rejected = (int(counts[i]) for counts in char_counts)
        if equal[i]:
            yield Failure(i, "the chosen and the rejected answer are the same")
        else:
            lengths = f"chosen has {chosen:,} characters and rejected {rejected:,}: more than {limit:g} times apart"
            yield Failure(i, lengths)


def longer(batch: Batch) -> "np.ndarray | None":
    """Return for each row 1 where the chosen answer has more characters than the rejected one, -1 where it has fewer,
    and 0 where they are as long or the row is no pair; None where no row is a pair."""
    import numpy as np

    if not {"chosen", "rejected"} <= batch.roles.keys():
        return None
    chosen, rejected = _char_counts(batch)
    return np.sign(chosen - rejected).astype(np.int8)


def _char_counts(batch: Batch) -> "list[np.ndarray]":
    """Return the characters of the chosen and of the rejected answers [rows]."""
    import numpy as np
    import polars as pl

    counts = []
    for name in ("chosen", "rejected"):
        turns = batch.turns.filter(pl.col("column") == CONVERSATIONS.index(name))
        counts.append(np.bincount(turns["row"].to_numpy(), turns["content"].str.len_chars().to_numpy(), len(batch)))
    return counts
