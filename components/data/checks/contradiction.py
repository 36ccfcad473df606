"""No answer that one row prefers is rejected by an earlier row, for the same prompt and in the same split."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.data.checks import Batch, Context, Failure, Roster
from components.data.checks.hashes import hashed, placed, squeezed, sums
from components.rows import CONVERSATIONS

if TYPE_CHECKING:
    import numpy as np

KEPT = [("row", "u4"), ("good", "?"), ("answer", "u8")]


def keep(batch: Batch, _: Context) -> "np.ndarray":
    """Each preferred and each rejected answer with its prompt, as 64 bits."""
    import numpy as np
    import polars as pl

    label: pl.Series = pl.from_arrow(batch.arrow.column("label"))  # type: ignore[assignment]
    kinds = {"chosen": np.ones(len(batch), bool), "rejected": np.zeros(len(batch), bool)}
    kinds["completion"] = label.fill_null(False).to_numpy()
    present = {name: batch.roles[name].is_not_null().to_numpy() for name in kinds if name in batch.roles}
    if "completion" in present:
        present["completion"] = present["completion"] & label.is_not_null().to_numpy()
    parts = [np.zeros(0, KEPT)]
    prompts = _hashes(batch, "prompt") if present else None
    for name, here in present.items():
        part = np.zeros(int(here.sum()), KEPT)
        part["row"] = np.flatnonzero(here) + batch.start
        part["good"], part["answer"] = kinds[name][here], (prompts + _hashes(batch, name))[here]
        parts.append(part)
    return np.concatenate(parts)


def _hashes(batch: Batch, name: str) -> "np.ndarray":
    import numpy as np
    import polars as pl

    turns = batch.turns.filter(pl.col("column") == CONVERSATIONS.index(name))
    words = hashed(squeezed(turns["content"])) ^ hashed(turns["tool_calls"])
    places = turns["place"].to_numpy().astype(np.int64) + (1000 if name == "prompt" else 0)
    return sums(placed(words, places), turns["row"].to_numpy(), len(batch))


def judge(file: Path, roster: Roster, _: Context) -> Iterator[Failure]:
    """The later row of two that contradict each other; a pair of equal answers is not this check's."""
    import numpy as np

    kept = np.fromfile(file, KEPT)
    kept = kept[roster.alive[kept["row"]]]
    val = (kept["row"] >= roster.of("val").start).astype(np.uint64)
    order = np.lexsort((kept["row"], kept["answer"] + val))
    kept = kept[order]
    starts = np.flatnonzero(np.diff(kept["answer"], prepend=~kept["answer"][:1]))
    firsts = kept[np.repeat(starts, np.diff(starts, append=len(kept)))]
    wrong = np.flatnonzero((kept["good"] != firsts["good"]) & (kept["row"] != firsts["row"]))
    told: set[int] = set()
    for i, first in sorted(zip(kept["row"][wrong].tolist(), firsts["row"][wrong].tolist(), strict=True)):
        if i not in told:
            told.add(i)
            yield Failure(i, f"prefers or rejects an answer of which {roster.where(first)} says the opposite")
