"""The chosen and the rejected answer differ, and neither is max_pair_ratio times as long as the other."""

from collections.abc import Iterator

from components.data.checks import Batch, Context, Failure
from components.data.checks._hashes import hashed, placed, squeezed, sums
from components.rows import CONVERSATIONS

EXTRA_CHARS = 20
"""Characters that are added to both lengths, so that those of "Yes." and "No, never." are alike."""


def check_rows(batch: Batch, context: Context) -> Iterator[Failure]:
    """Answers of several turns are compared as a whole; runs of white space aside."""
    import numpy as np
    import polars as pl

    if not {"chosen", "rejected"} <= batch.roles.keys():
        return
    hashes, char_counts = [], []
    for name in ("chosen", "rejected"):
        turns = batch.turns.filter(pl.col("column") == CONVERSATIONS.index(name))
        row, place = turns["row"].to_numpy(), turns["place"].to_numpy()
        words = hashed(squeezed(turns["content"])) ^ hashed(turns["tool_calls"])
        hashes.append(sums(placed(words, place), row, len(batch)))
        char_counts.append(np.bincount(row, turns["content"].str.len_chars().to_numpy(), len(batch)) + EXTRA_CHARS)
    present = (batch.roles["chosen"].is_not_null() & batch.roles["rejected"].is_not_null()).to_numpy()
    ratio, limit = char_counts[0] / char_counts[1], context.validation.max_pair_ratio
    equal = hashes[0] == hashes[1]
    for i in np.flatnonzero(present & (equal | (ratio > limit) | (ratio < 1 / limit))).tolist():
        chosen, rejected = (int(length[i]) - EXTRA_CHARS for length in char_counts)
        if equal[i]:
            yield Failure(i, "the chosen and the rejected answer are the same")
        else:
            lengths = f"chosen has {chosen:,} characters and rejected {rejected:,}: more than {limit:g} times apart"
            yield Failure(i, lengths)
