"""No question, no answer and no plain text is blank."""

from collections.abc import Iterator
from unicodedata import category

from components.data.checks import Batch, Context, Failure

FILLERS = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and signs that show nothing."""
VISIBLE = rf"[[\p{{L}}\p{{N}}\p{{P}}\p{{S}}\p{{Co}}]--[{FILLERS}]]"
"""A character that is seen: no white space, control, zero-width or filler character, no mark without a letter."""
NAMES = {"user": "question", "assistant": "answer", None: "text"}


def check_rows(batch: Batch, _: Context) -> Iterator[Failure]:
    """A call of a tool needs no words."""
    import polars as pl

    blank = ~pl.col("content").str.contains(VISIBLE)
    spoken = pl.col("role").is_null() | pl.col("role").is_in(["user", "assistant"])
    blank_turns = batch.turns.filter(blank & spoken & pl.col("tool_calls").is_null()).unique(
        "row", keep="first", maintain_order=True
    )
    for row, role in blank_turns.select("row", "role").iter_rows():
        yield Failure(row, f"the {NAMES[role]} is empty")


def is_blank(text: str) -> bool:
    """Return whether no character of a text is `VISIBLE`."""
    return not any((category(c)[0] in "LNPS" or category(c) == "Co") and c not in FILLERS for c in text)
