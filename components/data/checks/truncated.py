"""The answer is not cut off in the middle of a sentence or of a block of code.

A guess on the safe side. An answer may well end without a full stop, so only three things count: a fence (```) that
nobody closed, a last character after which something must come, and, in the languages of `OPEN`, a last word that
cannot be the last.
"""

from collections.abc import Iterator

from components.data.checks import Batch, Context, Failure
from components.rows import CONVERSATIONS

LONG = 80
"""Characters from which the end of an answer is looked at."""
OPEN = (
    "a|an|the|of|and|or|to|with|for|from|by|at|as|is|are|was|were|be|that|which|because|if|than|their|its|your|my"
    "|der|die|das|und|oder|mit|von|zu|ein|eine|le|la|les|et|ou|de|du|des|avec|pour|el|los|las|y|con|para|del"
)
END = rf"(?:[,;(\[{{，、；（]|\b(?:{OPEN}))\s*$"
JUDGED = [CONVERSATIONS.index(name) for name in ("messages", "chosen", "completion")]


def check_rows(batch: Batch, _: Context) -> Iterator[Failure]:
    """The last turn of each answer; a rejected one may be as bad as it likes."""
    import polars as pl

    content = pl.col("content")
    answers = batch.turns.filter(
        pl.col("column").is_in(JUDGED), (pl.col("role") == "assistant") & pl.col("tool_calls").is_null()
    )
    last = answers.unique("row", keep="last", maintain_order=True).select("row", "content")
    fenced = content.str.contains("```", literal=True) & (content.str.count_matches(r"(?m)^\s*```") % 2 == 1)
    open_ended = (content.str.len_bytes() >= LONG) & content.str.slice(-24).str.contains(END)
    for row, text, fence in last.filter(fenced | open_ended).with_columns(fenced.alias("fence")).iter_rows():
        tail = text[-24:].strip()
        reason = "a block of code in the answer is never closed" if fence else f"the answer ends in “…{tail}”"
        yield Failure(row, reason, tail)
