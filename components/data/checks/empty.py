"""No question, no answer and no plain text is blank."""

from collections.abc import Iterator

from components.data.checks import Batch, Context, Failure

NAMES = {"user": "question", "assistant": "answer", None: "text"}


def check_rows(batch: Batch, _: Context) -> Iterator[Failure]:
    """A call of a tool needs no words."""
    import polars as pl

    blank = pl.col("content").str.strip_chars().str.len_bytes() == 0
    spoken = pl.col("role").is_null() | pl.col("role").is_in(["user", "assistant"])
    blank_turns = batch.turns.filter(blank & spoken & pl.col("tool_calls").is_null()).unique(
        "row", keep="first", maintain_order=True
    )
    for row, role in blank_turns.select("row", "role").iter_rows():
        yield Failure(row, f"the {NAMES[role]} is empty")
